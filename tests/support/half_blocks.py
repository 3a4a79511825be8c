"""Rows of half blocks as a camera sees them on a black screen."""

from __future__ import annotations

_DOTS = 4
_HALVES = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}


def picture_of(rows: tuple[str, ...], columns: int) -> bytes:
    """What a camera sees of these rows of characters on a black screen, as a PGM image."""
    dots = []
    for row in rows:
        halves = [_HALVES[character] for character in row.ljust(columns)]
        for half in (0, 1):
            line = b"".join(bytes([pair[half]]) * _DOTS for pair in halves)
            dots += [line] * _DOTS
    black = [bytes(columns * _DOTS)] * 8
    dots = [*black, *dots, *black]
    return b"P5 %d %d 255\n" % (columns * _DOTS, len(dots)) + b"".join(dots)
