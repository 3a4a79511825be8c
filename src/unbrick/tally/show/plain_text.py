"""Fits texts of strangers (computer names, sites, reasons) into terminal cells; none is read as markup."""

from __future__ import annotations

from rich.cells import cell_len

from unbrick.text import in_a_column

_LEFT_TO_RIGHT_MARK = "\u200e"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """A text, safe to show, in exactly `width` terminal cells: cut with `…`, or padded with blanks."""
    if width <= 0:
        return ""
    clean = in_a_column(text, max(width, 8))
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
