"""Makes text from a disk, a file or a network safe to show on a terminal, and numbers agree with nouns."""

from __future__ import annotations

import unicodedata

_MOST_MARKS = 2
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"  # letters and signs by their kind, that show nothing
_LEFT_TO_RIGHT_MARK = "\u200e"


def printable(text: str, instead: str = "?") -> str:
    """The text with `instead` for every character that is invisible or could control a terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else instead for c in text)


def without_hidden(text: str, most: int) -> str:
    """At most `most` characters of a text on one line, without invisible ones.

    Keeps every kind of space, unlike `printable`: Windows has names with them, which are looked up.
    """
    kept = (" " if c in "\t\r\n" else c for c in text[: most * 4] if c in "\t\r\n" or not _is_hidden(c))
    return "".join(kept).strip()[:most]


def is_seen(text: str) -> bool:
    """Whether any character is visible: a letter, a digit, a sign."""
    return any(unicodedata.category(c)[0] in "LNPS" and c not in _BLANK for c in text)


def _is_hidden(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] == "C" or category in ("Zl", "Zp")


def counted(number: int, noun: str) -> str:
    """`1 report`, `2,000 reports`."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def are(number: int) -> str:
    return "is" if number == 1 else "are"


def in_a_column(text: str, most: int = 200) -> str:
    """`printable`, and no character paints over its neighbours or turns the direction of what follows.

    At most so many characters; the last is `…` where something was cut off.
    """
    kept: list[str] = []
    marks = 0
    turned = False
    cut = len(text) > most * 4  # each may have marks, which take no room
    for character in text[: most * 4]:
        if len(kept) == most:
            cut = True
            break
        if unicodedata.category(character) in {"Mn", "Me", "Mc"}:
            marks += 1
            # A name may have accents; a pile of them paints over its neighbours.
            if marks > _MOST_MARKS or not kept or _is_variation_selector(character):
                continue
        else:
            marks = 0
        turned = turned or unicodedata.bidirectional(character) in {"R", "AL", "AN"}
        kept.append(character)
    if cut:
        kept[most - 1 :] = "…"
    return printable("".join(kept)) + (_LEFT_TO_RIGHT_MARK if turned else "")


def _is_variation_selector(character: str) -> bool:
    """Terminals do not agree on how wide a character becomes with one."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
