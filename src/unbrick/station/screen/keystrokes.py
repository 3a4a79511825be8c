"""What a keyboard, a serial line or a barcode scanner sends, as keys. Pure.

The kernel's US layout is in force whatever is printed on the keys; the row of digits gives digits then, on a
French keyboard too. Sequences are those of the Linux console and xterm (console_codes(4), xterm's ctlseqs).
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum, auto

_ESCAPE = 0x1B
_LONGEST_SEQUENCE = 32


class KeyKind(StrEnum):
    """What a key does."""

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


_CONTROLS = {
    0x0D: KeyKind.ENTER,
    0x0A: KeyKind.ENTER,
    0x09: KeyKind.TAB,
    0x08: KeyKind.BACKSPACE,
    0x7F: KeyKind.BACKSPACE,
    0x15: KeyKind.DELETE,  # Ctrl-U, for a terminal without a Delete key
}
_FINALS = {"A": KeyKind.UP, "B": KeyKind.DOWN, "C": KeyKind.RIGHT, "D": KeyKind.LEFT}
# The numeric keypad in application mode sends `ESC O p` to `ESC O y` for 0 to 9, and `ESC O M` for Enter.
_KEYPAD = dict(zip("pqrstuvwxy", "0123456789", strict=True))


_SIGNS = dict(zip("!@#$%^&*()", "1234567890", strict=True))


def digit_of(key: Key) -> str | None:
    """The digit that a key is meant for; None for any other.

    The sign above a digit counts as it: who is used to a French keyboard, or a scanner set up for one, holds
    Shift down for digits.
    """
    text = _SIGNS.get(key.text, key.text)
    return text if len(text) == 1 and text in "0123456789" else None


class KeyDecoder:
    """Takes bytes as they come and gives keys; half a sequence waits for the rest."""

    def __init__(self) -> None:
        self._waiting = bytearray()
        self._text = codecs.getincrementaldecoder("utf-8")("replace")

    @property
    def undecided(self) -> bool:
        """Whether an ESC has come that may be the key itself or begin a sequence."""
        return bool(self._waiting)

    def feed(self, data: bytes) -> list[Key]:
        """The keys that these bytes complete."""
        return [key for byte in data for key in self._take(byte)]

    def settle(self) -> list[Key]:
        """The key that a lone ESC was, once nothing followed in time; half a sequence is dropped."""
        alone = bytes(self._waiting) == b"\x1b"
        self._waiting.clear()
        return [Key(KeyKind.ESCAPE)] if alone else []

    def _take(self, byte: int) -> Iterator[Key]:
        if byte == _ESCAPE:
            yield from self.settle()
            self._waiting.append(byte)
        elif self._waiting:
            yield from self._continue_sequence(byte)
        elif byte in _CONTROLS:
            yield Key(_CONTROLS[byte])
        else:
            for character in self._text.decode(bytes([byte])):
                if character.isprintable():
                    yield Key(KeyKind.CHARACTER, character)

    def _continue_sequence(self, byte: int) -> Iterator[Key]:
        self._waiting.append(byte)
        sequence = self._waiting.decode("latin-1")
        if len(sequence) == 2:
            if sequence[1] not in "[O":  # ESC, and another key straight after it
                self._waiting.clear()
                yield Key(KeyKind.ESCAPE)
                yield from self._take(byte)
            return
        final = sequence[-1]
        if sequence == "\x1b[[" or (not "@" <= final <= "~" and len(sequence) < _LONGEST_SEQUENCE):
            return  # the console's function keys are ESC [ [ and one letter
        self._waiting.clear()
        if sequence.startswith("\x1bO"):
            if final == "M":
                yield Key(KeyKind.ENTER)
            elif final in _KEYPAD:
                yield Key(KeyKind.CHARACTER, _KEYPAD[final])
        if sequence == "\x1b[3~":
            yield Key(KeyKind.DELETE)
        elif final in _FINALS and not sequence.startswith("\x1b[["):
            yield Key(_FINALS[final])
