"""A terminal as a sheet of lines and a row of keys: the Linux console, a serial line, an xterm.

Never decides what is said; draws what it is given and hands on what is pressed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum, auto
from types import TracebackType


class Hue(Enum):
    """The colours that every terminal has, by their number."""

    BLACK = 0
    RED = 1
    GREEN = 2
    AMBER = 3
    BLUE = 4
    WHITE = 7


@dataclass(frozen=True)
class Style:
    """How a piece of text looks."""

    fore: Hue = Hue.WHITE
    back: Hue = Hue.BLACK
    bold: bool = False


@dataclass(frozen=True)
class Span:
    """A piece of a line in one style."""

    text: str
    style: Style = field(default_factory=Style)


Line = tuple[Span, ...]


class KeyKind(StrEnum):
    """What was pressed."""

    CHARACTER = auto()
    ENTER = auto()
    TAB = auto()
    BACKSPACE = auto()
    DELETE = auto()
    ESCAPE = auto()
    UP = auto()
    DOWN = auto()
    LEFT = auto()
    RIGHT = auto()


@dataclass(frozen=True)
class Key:
    """One key; `text` is what a CHARACTER wrote, which may be a digit of a password: it is never shown."""

    kind: KeyKind
    text: str = field(default="", repr=False)


class Terminal:
    """One open terminal, in raw mode until it is closed. A context manager."""

    @classmethod
    def open(cls, path: str = "/dev/tty1") -> Terminal:
        """Open a terminal device and take it over; raises FailedError where it is none."""
        raise NotImplementedError

    def size(self) -> tuple[int, int]:
        """Columns and rows; 80 and 24 where the terminal does not say."""
        raise NotImplementedError

    def draw(self, lines: Sequence[Line]) -> None:
        """Fill the screen with these lines."""
        raise NotImplementedError

    def read_key(self, timeout_seconds: float | None) -> Key | None:
        """The next key, None where none came in time."""
        raise NotImplementedError

    def drain(self) -> None:
        """Forget what was pressed before now."""
        raise NotImplementedError

    def close(self) -> None:
        """Put the terminal back as it was."""
        raise NotImplementedError

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
