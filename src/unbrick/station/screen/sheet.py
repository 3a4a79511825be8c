"""A screenful as data: lines of styled text, and the few ways to lay words out on them. Pure.

Only characters that the Linux console's built-in font draws are let through (ASCII and code page 437):
a name from a disk can neither steer the terminal nor push a line out of its place.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum


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
    """The look of a piece of text."""

    fore: Hue = Hue.WHITE
    back: Hue = Hue.BLACK
    bold: bool = False


_FONT = {character for character in bytes(range(256)).decode("cp437") if character.isprintable()}

PLAIN = Style()
STRONG = Style(bold=True)


@dataclass(frozen=True)
class Span:
    """A piece of a line in one style."""

    text: str
    style: Style = field(default_factory=Style)


Line = tuple[Span, ...]
BLANK: Line = ()


def drawable(text: str) -> str:
    """A text with `?` for every character that the console's font does not have, or that would steer it."""
    return "".join(character if character in _FONT else "?" for character in text)


def width_of(line: Line) -> int:
    return sum(len(span.text) for span in line)


def fitted(line: Line, columns: int, fill: Style = PLAIN) -> Line:
    """A line made exactly so many columns wide: cut, or filled up in a style."""
    spans: list[Span] = []
    left = columns
    for span in line:
        text = drawable(span.text)[:left]
        left -= len(text)
        if text:
            spans.append(Span(text, span.style))
    return (*spans, Span(" " * left, fill)) if left else tuple(spans)


def centred(line: Line, columns: int, fill: Style = PLAIN) -> Line:
    before = max((columns - width_of(line)) // 2, 0)
    return fitted((Span(" " * before, fill), *line), columns, fill)


def at_both_ends(left: str, right: str, columns: int, style: Style) -> Line:
    """A line with a text at either end; the left one is cut where there is no room for both."""
    left = left[: max(columns - len(right) - 1, 0)]
    return fitted((Span(left + right.rjust(columns - len(left)), style),), columns, style)


def wrapped(text: str, columns: int) -> list[str]:
    """The text in lines of at most so many columns; a word is cut only where it is longer than a line."""
    return textwrap.wrap(drawable(text), max(columns, 1), break_on_hyphens=False) or [""]


def paragraphs(sentences: Iterable[str], columns: int, style: Style = PLAIN) -> list[Line]:
    """Sentences as lines, each beginning on a line of its own."""
    return [(Span(piece, style),) for sentence in sentences for piece in wrapped(sentence, columns)]


_BLOCKS = {(False, False): " ", (True, False): "▀", (False, True): "▄", (True, True): "█"}


def half_blocks(dots: Sequence[Sequence[bool]], *, below: bool) -> list[str]:
    """Rows of dots as text, two of them in one line; `below` are the dots that an odd row lacks below it."""
    rows = [*dots, [below] * len(dots[0])] if len(dots) % 2 else dots
    return [
        "".join(_BLOCKS[pair] for pair in zip(upper, lower, strict=True))
        for upper, lower in zip(rows[::2], rows[1::2], strict=True)
    ]


def indented(lines: Iterable[Line], columns: int) -> list[Line]:
    return [(Span(" " * columns), *line) if line else line for line in lines]


def spaced(lines: Sequence[Line]) -> list[Line]:
    return [one for line in lines for one in (line, BLANK)][:-1]
