"""Every file of a volume as dissect.ntfs reads it: by its record, never by its folder."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dissect.ntfs import NTFS
from dissect.ntfs.c_ntfs import ATTRIBUTE_TYPE_CODE
from support.damage.ntfs_bytes import FOLDER, IN_USE

_MOST_BYTES = 32 << 20  # what is believed of a size
_MOST_RECORDS = 20_000
_MOST_MEMORY = 4 << 30


@dataclass(frozen=True)
class ReadFile:
    """A record in use: `streams` are the digests of its data by name, `listed` what a folder lists.

    `rights` is the number of its set of access rights, 0 where it has none.
    """

    sequence: int
    folder: bool
    names: tuple[str, ...]
    streams: Mapping[str, str]
    listed: frozenset[tuple[str, int]]
    rights: int = 0


@dataclass(frozen=True)
class ReadVolume:
    """What can be read of a volume: its files by record, and its sets of access rights by number."""

    files: Mapping[int, ReadFile]
    rights: Mapping[int, str]


@contextmanager
def _bounded_memory() -> Iterator[None]:
    """dissect believes every size, and would have all of the machine's memory; so it gets a MemoryError."""
    former, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (former, hard))


def read_volume(path: Path) -> ReadVolume | None:
    """All of it; None where nothing can be read."""
    with path.open("rb") as stream, _bounded_memory():
        try:
            volume: Any = NTFS(stream)
            size = volume.mft.get(0).size()
        except Exception:
            return None
        count = min(size // volume._record_size, _MOST_RECORDS)
        files: dict[int, ReadFile] = {}
        for number in range(count):
            found = _read(volume, number)
            if found is not None:
                files[number] = found
        return ReadVolume(files, _rights(volume, files))


def _read(volume: Any, number: int) -> ReadFile | None:
    try:
        record = volume.mft.get(number)
        if not record.header.Flags & IN_USE or record.header.BaseFileRecordSegment.SegmentNumberLowPart:
            return None
        found = record.attributes[ATTRIBUTE_TYPE_CODE.DATA]
        streams = {attribute.name for attribute in found}
        names = tuple(sorted(record.filenames()))
    except Exception:  # whatever is damaged: this file cannot be read
        return None
    folder = bool(record.header.Flags & FOLDER)
    return ReadFile(
        record.header.SequenceNumber,
        folder,
        names,
        {name: _digest(record, name) for name in sorted(streams)},
        _listed(record) if folder else frozenset(),
        _rights_of(record),
    )


def _rights_of(record: Any) -> int:
    try:
        return int(record.attributes.STANDARD_INFORMATION[0].security_id)
    except Exception:
        return 0


def _digest(record: Any, name: str) -> str:
    try:
        size = record.size(name)
        digest = hashlib.sha256()
        stream = record.open(name)
        left = min(size, _MOST_BYTES)
        while left > 0 and (part := stream.read(min(left, 1 << 20))):
            digest.update(part)
            left -= len(part)
        return f"{size} bytes, {digest.hexdigest()}"
    except Exception as error:
        return f"unreadable: {type(error).__name__}"


def _listed(record: Any) -> frozenset[tuple[str, int]]:
    found = set()
    try:
        for index, entry in enumerate(record.iterdir()):
            reference = entry.header.FileReference
            number = reference.SegmentNumberLowPart | reference.SegmentNumberHighPart << 32
            found.add((str(entry.attribute.file_name), number))
            if index > _MOST_RECORDS:
                break
    except Exception:
        return frozenset(found)
    return frozenset(found)


def _rights(volume: Any, files: Mapping[int, ReadFile]) -> dict[int, str]:
    found = {}
    for identity in {file.rights for file in files.values()} - {0}:
        try:
            place = volume.secure.sii.search(identity).data
            offset = int.from_bytes(bytes(place)[8:16], "little")
            length = int.from_bytes(bytes(place)[16:20], "little")
            volume.secure.sds.seek(offset)
            found[identity] = hashlib.sha256(volume.secure.sds.read(min(length, 1 << 20))[20:]).hexdigest()
        except Exception:
            continue
    return found
