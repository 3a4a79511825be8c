"""NTFS structures read and written in place: boot sector, MFT records, the dirty flag.

Works on a view of bytes, never mounts. The layout is that of the Linux-NTFS project's documentation and of
Brian Carrier's "File System Forensic Analysis", chapters 11 to 13. All of it is hostile input.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from unbrick.errors import FailedError, NeedsHandsError, Reason

RECORD_MIRROR = 1
RECORD_LOG_FILE = 2
RECORD_VOLUME = 3

_STRIDE = 512  # bytes that an update sequence protects, with sectors of any size
# Kinds of attributes.
STANDARD_INFORMATION, ATTRIBUTE_LIST, FILE_NAME, OBJECT_ID = 0x10, 0x20, 0x30, 0x40
VOLUME_NAME, VOLUME_INFORMATION = 0x60, 0x70
DATA, INDEX_ROOT, INDEX_ALLOCATION, BITMAP = 0x80, 0x90, 0xA0, 0xB0
REFERENCE = (1 << 48) - 1
"""The bits of a file reference that are the record's number; above them is its sequence number."""
_END = b"\xff\xff\xff\xff"
_DIRTY = 0x0001
_RUNS_LIMIT = 100_000
TOGETHER = 16
"""The number of first records of the file table that are contiguous by definition."""


class ByteView(Protocol):
    """A volume as bytes; both raise OSError."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes; fewer only at the volume's end."""

    def write(self, offset: int, data: bytes) -> None:
        """Put all of `data` there."""


class FileView:
    """A byte view of an open file or device."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, offset)

    def write(self, offset: int, data: bytes) -> None:
        if os.pwrite(self._descriptor, data, offset) != len(data):
            raise OSError("short write")


@contextmanager
def open_view(path: Path, *, writable: bool = False) -> Iterator[FileView]:
    """A view of the volume at `path`; errors of the disk become FailedError (unreadable-disk)."""
    try:
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
        try:
            yield FileView(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FailedError(
            f"the disk gives an error at the NTFS volume: {error.strerror or error}",
            hint="the disk may be failing: copy it before anything else is tried",
            reason=Reason.UNREADABLE_DISK,
        ) from error


DAMAGED = "the NTFS volume is damaged: "


def damaged(what: str) -> NeedsHandsError:
    """The error for an NTFS that cannot be trusted; its message begins with `DAMAGED`."""
    return NeedsHandsError(
        f"{DAMAGED}{what}",
        hint="run chkdsk on it from Windows' recovery environment, then try again",
        reason=Reason.DAMAGED_VOLUME,
    )


@dataclass(frozen=True)
class Run:
    """Consecutive clusters of an attribute, as bytes of the volume; `offset` is None where sparse."""

    offset: int | None
    length: int


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record: `value` where it is in the record, at `position`; else its runs.

    `plain`: neither compressed, sparse nor encrypted. `first` is the offset in the attribute, in bytes, at
    which its runs begin: not 0 where another record holds those before, and then `size`, `allocated` and
    `initialized` (bytes, of the whole attribute) mean nothing.
    """

    position: int
    value: bytes | None
    runs: tuple[Run, ...]
    size: int
    plain: bool
    kind: int = DATA
    name: str = ""
    first: int = 0
    allocated: int = 0
    initialized: int = 0

    @property
    def length(self) -> int:
        """The bytes in its runs."""
        return sum(run.length for run in self.runs)


@dataclass(frozen=True)
class Geometry:
    """What the boot sector says; all bytes."""

    cluster: int
    record: int
    mft: int
    mirror: int
    length: int


def read_geometry(view: ByteView) -> Geometry:
    """Read the boot sector; raises NeedsHandsError: damaged-volume; no-windows where it is a FAT's."""
    boot = view.read(0, 512)
    named = boot[3:11]
    if named == b"EXFAT   " or (named != b"NTFS    " and b"FAT" in (boot[0x36:0x39], boot[0x52:0x55])):
        # BitLocker To Go often locks one; that is visible only when it is open.
        raise NeedsHandsError(
            "this volume holds a FAT file system, and no Windows starts from one",
            hint="check that this is the system disk of the machine",
            reason=Reason.NO_WINDOWS,
        )
    if len(boot) < 512 or named != b"NTFS    " or boot[510:512] != b"\x55\xaa":
        raise damaged("its boot sector is damaged")
    sector, per_cluster = struct.unpack_from("<HB", boot, 0x0B)
    # Above 128, the byte is a negative power of two (clusters over 64 KiB).
    cluster = sector * (per_cluster if per_cluster <= 128 else 1 << min(256 - per_cluster, 16))
    sectors, mft, mirror = struct.unpack_from("<3Q", boot, 0x28)
    (size,) = struct.unpack_from("<b", boot, 0x40)
    record = size * cluster if size > 0 else 1 << -size
    if sector not in (512, 1024, 2048, 4096) or not _is_power(cluster) or cluster > 2 << 20:
        raise damaged("its boot sector has an impossible sector or cluster size")
    if not _is_power(record) or not 512 <= record <= 65536:
        raise damaged("its boot sector has an impossible record size")
    length = sectors * sector
    if not 0 < mft * cluster < length or not 0 < mirror * cluster < length:
        raise damaged("its boot sector points outside the volume")
    return Geometry(cluster, record, mft * cluster, mirror * cluster, length)


def _is_power(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def unprotect(block: bytes, magic: bytes) -> bytes | None:
    """A multi-sector block without its update sequence; None where it is torn or not of this kind."""
    if len(block) < _STRIDE or block[:4] != magic:
        return None
    offset, count = struct.unpack_from("<HH", block, 4)
    if count != len(block) // _STRIDE + 1 or offset % 2 or not 8 <= offset <= _STRIDE - 2 - 2 * count:
        return None
    result = bytearray(block)
    number = block[offset : offset + 2]
    for index in range(1, count):
        tail = index * _STRIDE - 2
        if block[tail : tail + 2] != number:
            return None
        result[tail : tail + 2] = block[offset + 2 * index : offset + 2 * index + 2]
    return bytes(result)


def _replaced(block: bytes, position: int, value: bytes) -> bytes:
    """A protected block with the bytes at `position` of its unprotected form replaced."""
    result = bytearray(block)
    (update_sequence,) = struct.unpack_from("<H", block, 4)
    for index, byte in enumerate(value, position):
        sector, inside = divmod(index, _STRIDE)
        # The last two bytes of each sector are kept in the update sequence instead.
        stored = inside - (_STRIDE - 2)
        result[update_sequence + 2 * (sector + 1) + stored if stored >= 0 else index] = byte
    return bytes(result)


def read_record(view: ByteView, geometry: Geometry, number: int) -> bytes:
    """One of the first 16 records of the file table; raises NeedsHandsError (damaged-volume)."""
    assert number < TOGETHER
    record = unprotect(view.read(geometry.mft + number * geometry.record, geometry.record), b"FILE")
    if record is None:
        raise damaged(f"record {number} of its file table cannot be read")
    return record


def find_attribute(record: bytes, geometry: Geometry, kind: int) -> Attribute | None:
    """The first unnamed attribute of a kind in a record; raises NeedsHandsError (damaged-volume)."""
    return next((a for a in attributes(record, geometry) if a.kind == kind and not a.name), None)


def attributes(record: bytes, geometry: Geometry) -> Iterator[Attribute]:
    """All attributes in a record (unprotected), in their order; raises NeedsHandsError (damaged-volume)."""
    (position,) = struct.unpack_from("<H", record, 0x14)
    while position + 4 <= len(record):
        if record[position : position + 4] == _END:
            return
        if position + 16 > len(record):
            break
        kind, length, foreign, name_length, name_at = struct.unpack_from("<IIBBH", record, position)
        if length < 16 or length % 8 or position + length > len(record):
            break
        raw = bytes(record[position : position + length])
        name = raw[name_at : name_at + 2 * name_length] if name_length else b""
        if len(name) != 2 * name_length:
            break
        yield _parse_attribute(
            raw, geometry, position, kind, name.decode("utf-16-le", "surrogatepass"), resident=not foreign
        )
        position += length
    raise damaged("a record of its file table has a broken attribute")


def _parse_attribute(
    raw: bytes, geometry: Geometry, position: int, kind: int, name: str, *, resident: bool
) -> Attribute:
    (flags,) = struct.unpack_from("<H", raw, 12)
    try:
        if resident:
            size, start = struct.unpack_from("<IH", raw, 16)
            value = raw[start : start + size]
            if len(value) != size:
                raise damaged("an attribute reaches beyond its record")
            return Attribute(position + start, value, (), size, flags == 0, kind, name)
        first, _, start = struct.unpack_from("<QQH", raw, 16)
        allocated, size, initialized = struct.unpack_from("<QQQ", raw, 40)
        runs = tuple(_parse_runs(raw[start:], geometry))
        return Attribute(
            *(position, None, runs, size, flags == 0, kind, name),
            first=first * geometry.cluster,
            allocated=allocated,
            initialized=initialized,
        )
    except (struct.error, IndexError) as error:
        raise damaged("an attribute of its file table is cut short") from error


def _parse_runs(raw: bytes, geometry: Geometry) -> Iterator[Run]:
    position = cluster = 0
    for _ in range(_RUNS_LIMIT):
        head = raw[position]
        if head == 0:
            return
        size, reach = head & 0x0F, head >> 4
        end = position + 1 + size + reach
        if not 1 <= size <= 8 or reach > 8 or end > len(raw):
            break
        length = int.from_bytes(raw[position + 1 : position + 1 + size], "little") * geometry.cluster
        cluster += int.from_bytes(raw[position + 1 + size : end], "little", signed=True)
        offset = cluster * geometry.cluster if reach else None
        if length == 0 or (offset is not None and not 0 <= offset <= geometry.length - length):
            break
        yield Run(offset, length)
        position = end
    raise damaged("a list of clusters points outside the volume")


def joined(runs: Iterable[Run]) -> list[Run]:
    """Runs, with those joined that are adjacent on the volume."""
    whole: list[Run] = []
    for run in runs:
        last = whole[-1] if whole else None
        if last and last.offset is not None and last.offset + last.length == run.offset:
            whole[-1] = Run(last.offset, last.length + run.length)
        else:
            whole.append(run)
    return whole


def begins_with(runs: Iterable[Run], former: Iterable[Run]) -> bool:
    """Whether runs are the former ones, the last of which may have grown, and others after them."""
    now, then = joined(runs), joined(former)
    if not then or len(now) < len(then):
        return not then
    last = len(then) - 1
    grown = now[last].offset == then[last].offset and now[last].length >= then[last].length
    return now[:last] == then[:last] and grown


def read_dirty(view: ByteView, geometry: Geometry) -> bool:
    """Whether the volume's dirty flag is set; raises NeedsHandsError (damaged-volume)."""
    flags, _ = _dirty_flags(read_record(view, geometry, RECORD_VOLUME), geometry)
    return bool(flags & _DIRTY)


def _dirty_flags(record: bytes, geometry: Geometry) -> tuple[int, int]:
    """The volume's flags and their offset in the record (unprotected)."""
    information = find_attribute(record, geometry, VOLUME_INFORMATION)
    if information is None or information.value is None or information.size < 12:
        raise damaged("it has no volume information")
    return struct.unpack_from("<H", information.value, 10)[0], information.position + 10


def write_dirty(view: ByteView, geometry: Geometry, dirty: bool) -> None:
    """Set or clear the dirty flag, in the file table and in its mirror alike; does not flush.

    Raises NeedsHandsError (damaged-volume) with nothing written.
    """
    at = RECORD_VOLUME * geometry.record
    changes: list[tuple[int, bytes]] = []
    for position in (geometry.mft + at, geometry.mirror + at):
        raw = view.read(position, geometry.record)
        record = unprotect(raw, b"FILE")
        if record is None:
            raise damaged("the file table's record of the volume, or its mirror, cannot be read")
        # Only bytes of one sector change in each, so neither can be torn. Also written where the flag reads
        # so already: after a flush that failed, the kernel shows data that never reached the disk.
        flags, place = _dirty_flags(record, geometry)
        wanted = flags | _DIRTY if dirty else flags & ~_DIRTY
        changes.append((position, _replaced(raw, place, struct.pack("<H", wanted))))
    for position, data in changes:
        view.write(position, data)
