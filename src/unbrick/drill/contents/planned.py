"""What is to be written on a Windows volume, as data: folders, files, names, times, streams, rights.

Pure: `tree.py` and `faults.py` say it in these words, `drill/disk/ntfs.py` writes it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from unbrick.drill.contents.security import PROGRAM_FILES, Protection
from unbrick.windows.ntfs_file import FileAttributes, datetime_to_filetime

_NO_BITS = FileAttributes(0)
_TICKS_PER_SECOND = 10_000_000


@dataclass(frozen=True)
class Times:
    """Three FILETIMEs."""

    created: int
    modified: int
    accessed: int


@dataclass(frozen=True)
class PlannedFolder:
    """A folder by its Windows path from the volume's root; the folders above it exist already."""

    path: str
    times: Times
    protection: Protection = PROGRAM_FILES
    attributes: FileAttributes = _NO_BITS
    short_name: str | None = None


@dataclass(frozen=True)
class PlannedFile:
    """A file. `streams` are its alternate streams; `links` further names of it (hard links).

    `faulty` marks what a repair must take away.
    """

    path: str
    content: bytes
    times: Times
    protection: Protection = PROGRAM_FILES
    attributes: FileAttributes = _NO_BITS
    short_name: str | None = None
    streams: tuple[tuple[str, bytes], ...] = ()
    links: tuple[str, ...] = ()
    faulty: bool = False


@dataclass(frozen=True)
class PlannedJunction:
    """A junction (mount point reparse point, [MS-FSCC] 2.1.2.5) to a folder of the same volume."""

    path: str
    target: str
    times: Times
    attributes: FileAttributes = field(default=FileAttributes.HIDDEN | FileAttributes.SYSTEM)


def moment(text: str) -> int:
    """A UTC time written as `2024-07-19 04:09:00` as a FILETIME."""
    return datetime_to_filetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def between(rng: random.Random, first: int, last: int) -> int:
    """A FILETIME in a range, with its last digits in use as on a real volume."""
    return rng.randrange(first, last)


_INSTALLED = moment("2021-03-02 08:00:00")
LAST_EVENING = moment("2024-07-18 18:00:00")


def ordinary_times(rng: random.Random) -> Times:
    """Times of something that came and was used between installation and the evening before the incident."""
    created = between(rng, _INSTALLED, LAST_EVENING)
    modified = between(rng, created, LAST_EVENING + _TICKS_PER_SECOND)
    return Times(created, modified, between(rng, modified, LAST_EVENING + 2 * _TICKS_PER_SECOND))


def written_once(rng: random.Random, first: int, last: int) -> Times:
    """Times of a file that was made in a range and not touched since (modified within a second of it)."""
    tail = min(_TICKS_PER_SECOND, (last - first) // 2)
    created = between(rng, first, last - tail)
    modified = created + rng.randrange(max(tail, 1))
    return Times(created, modified, modified)
