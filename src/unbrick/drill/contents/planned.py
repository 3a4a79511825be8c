"""What a Windows volume is made of, as data: folders, files, names, times, streams, rights. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import UTC, datetime

from unbrick.drill.contents.security import PROGRAM_FILES, Protection
from unbrick.windows.ntfs_file import FileAttributes, NtfsTimes, datetime_to_filetime

_NO_BITS = FileAttributes(0)
_TICKS_PER_SECOND = 10_000_000


@dataclass(frozen=True)
class PlannedFolder:
    """A folder by its Windows path from the volume's root; the folders above it exist already."""

    path: str
    times: NtfsTimes
    protection: Protection = PROGRAM_FILES
    short_name: str | None = None


@dataclass(frozen=True)
class PlannedFile:
    """A file with its alternate streams; `links` are further names, `faulty`: a repair takes it away."""

    path: str
    content: bytes
    times: NtfsTimes
    protection: Protection = PROGRAM_FILES
    attributes: FileAttributes = _NO_BITS
    short_name: str | None = None
    streams: tuple[tuple[str, bytes], ...] = ()
    links: tuple[str, ...] = ()
    faulty: bool = False


@dataclass(frozen=True)
class PlannedJunction:
    """A hidden junction (mount point reparse point, [MS-FSCC] 2.1.2.5) to a folder of the same volume."""

    path: str
    target: str
    times: NtfsTimes


def moment(text: str) -> int:
    """The FILETIME of a UTC time such as `2024-07-19 04:09:00`."""
    return datetime_to_filetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


_INSTALLED = moment("2021-03-02 08:00:00")
LAST_EVENING = moment("2024-07-18 18:00:00")


def ordinary_times(rng: random.Random) -> NtfsTimes:
    """Times of a file that was made and used between installation and the evening before the incident."""
    created = rng.randrange(_INSTALLED, LAST_EVENING)
    modified = rng.randrange(created, LAST_EVENING + _TICKS_PER_SECOND)
    accessed = rng.randrange(modified, LAST_EVENING + 2 * _TICKS_PER_SECOND)
    return NtfsTimes(created, modified, accessed, 0)


def written_once(rng: random.Random, first: int, last: int) -> NtfsTimes:
    """Times of a file that was made in a range of FILETIMEs and modified within a second of that."""
    tail = min(_TICKS_PER_SECOND, (last - first) // 2)
    created = rng.randrange(first, last - tail)
    modified = created + rng.randrange(max(tail, 1))
    return NtfsTimes(created, modified, modified, 0)
