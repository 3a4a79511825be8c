"""Makes text from a disk, a file or a network safe to show on a terminal. Pure."""

from __future__ import annotations


def printable(text: str) -> str:
    """The text with every control character as `?`: it can neither move a cursor nor change a colour."""
    return "".join(c if c.isprintable() else "?" for c in text)
