"""Small files and folders that may be missing, or go at any moment: the kernel's, udev's, a stick's."""

from __future__ import annotations

from pathlib import Path

_MOST_BYTES = 64 * 1024


def text_of(path: Path) -> str:
    """What is in a file, without white space around it; nothing where it cannot be read."""
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""


def names_in(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where it cannot be read."""
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []
