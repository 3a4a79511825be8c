"""The recovery passwords that a station has: the files its settings name, and every export on the stick.

They are read once, into memory, and written nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from unbrick.errors import UnbrickError, UsageError
from unbrick.keys.sources.files import KeyFiles
from unbrick.keys.sources.source import KeySource

KEYS_FOLDER = "keys"
_MOST_FILES = 64
_AN_EXPORT = re.compile(r"\.csv$|[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\.txt$", re.IGNORECASE)
_MOST_BYTES = 32 * 1024 * 1024  # while it is read, a file takes ten times as much, of the 1 GB of a machine


def open_key_files(named: Sequence[Path], stick: Path | None) -> tuple[list[KeySource], list[str]]:
    """The key sources, and sentences about what cannot be used of them."""
    sources: list[KeySource] = []
    notes: list[str] = []
    files = [*named, *(_on_stick(stick) if stick is not None else ())]
    room = _MOST_BYTES
    for path in files[:_MOST_FILES]:
        try:
            if path.is_file() and path.stat().st_size > room:
                raise UsageError(f"{path.name}: a station takes {_MOST_BYTES >> 20} MiB of keys in all")
            source = KeyFiles.open(path, room=room)
            room -= source.size
        except (UnbrickError, OSError) as error:
            notes.append(f"a keys file is not used: {error}")
            continue
        sources.append(source)
        notes += source.warnings
    return sources, notes


def _on_stick(stick: Path) -> Iterator[Path]:
    """At the top of the stick every CSV, and what Windows itself has saved; and its folder `keys`."""
    with suppress(OSError):
        entries = sorted(stick.iterdir())
        yield from (path for path in entries if _AN_EXPORT.search(path.name) and path.is_file())
    folder = stick / KEYS_FOLDER
    if folder.is_dir() and any(folder.iterdir()):
        yield folder
