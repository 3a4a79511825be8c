"""The recovery passwords that a station has: the files its settings name, and every CSV on the stick.

They are read once, into memory, and written nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from unbrick.errors import UnbrickError, UsageError
from unbrick.keys.sources.files import KeyFiles
from unbrick.keys.sources.source import KeySource

KEYS_FOLDER = "keys"
_MOST_FILES = 64
_MOST_BYTES = 32 * 1024 * 1024  # while it is read, a file takes ten times as much, of the 1 GB of a machine


def open_key_files(named: Sequence[Path], stick: Path | None) -> tuple[list[KeySource], list[str]]:
    """The key sources, and sentences about what cannot be used of them."""
    sources: list[KeySource] = []
    notes: list[str] = []
    files = [*named, *(_on_stick(stick) if stick is not None else ())]
    room = _MOST_BYTES
    for path in files[:_MOST_FILES]:
        try:
            size = path.stat().st_size
            if size > room:
                raise UsageError(f"{path.name}: a station takes {_MOST_BYTES >> 20} MiB of keys in all")
            source = KeyFiles.open(path)
            room -= size
        except (UnbrickError, OSError) as error:
            notes.append(f"a keys file is not used: {error}")
            continue
        sources.append(source)
        notes += source.warnings
    return sources, notes


def _on_stick(stick: Path) -> Iterator[Path]:
    for folder in (stick, stick / KEYS_FOLDER):
        with suppress(OSError):
            entries = sorted(folder.iterdir())
            yield from (path for path in entries if path.suffix.lower() == ".csv" and path.is_file())
