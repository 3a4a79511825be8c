"""Text that strangers chose (computer names, sites, reasons), made harmless for a terminal and cut to cells.

Control characters, invisible ones and those that turn the direction of a line become `?`. Nothing here is
ever read as markup.
"""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

_MOST_MARKS = 2
_LEFT_TO_RIGHT_MARK = "\u200e"


def harmless(text: str, most: int = 200) -> str:
    """At most `most` characters of a text, on one line, none of which can move the cursor or hide others."""
    shown: list[str] = []
    marks = 0
    turned = False
    for character in text[: most * 4]:
        if len(shown) == most:
            break
        if unicodedata.category(character) in {"Mn", "Me", "Mc"}:
            marks += 1
            # A name may have accents; a pile of them paints over its neighbours.
            if marks > _MOST_MARKS or not shown or _is_variation_selector(character):
                continue
        else:
            marks = 0
        turned = turned or unicodedata.bidirectional(character) in {"R", "AL", "AN"}
        shown.append(character if character.isprintable() else "?")
    if turned:
        shown.append(_LEFT_TO_RIGHT_MARK)  # what stands to the right of it stays there
    return "".join(shown)


def _is_variation_selector(character: str) -> bool:
    """Terminals do not agree on how wide a character becomes with one."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """A harmless text in exactly `width` terminal cells: cut with `…`, or filled with blanks."""
    if width <= 0:
        return ""
    clean = harmless(text, max(width, 8))
    if len(text) > len(clean) or cell_len(clean) > width:
        clean = _cut(clean, width - 1) + "…"
    blanks = " " * (width - cell_len(clean))
    return blanks + clean if right else clean + blanks


def _cut(text: str, width: int) -> str:
    used = 0
    for index, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            kept = text[:index]
            return kept + _LEFT_TO_RIGHT_MARK if text.endswith(_LEFT_TO_RIGHT_MARK) else kept
    return text
