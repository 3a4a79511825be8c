"""Reads from an unmounted NTFS just enough to encrypt it: where a few files lie, which clusters are used.

Reads only, and only what a drill has made itself; still every length is checked. Layouts: the NTFS
documentation of the Linux-NTFS project, as implemented by ntfs-3g.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from unbrick.errors import FailedError, Reason

_BITMAP_RECORD = 6
_IN_USE = 1
_ATTRIBUTE_FILE_NAME, _ATTRIBUTE_DATA, _ATTRIBUTE_END = 0x30, 0x80, 0xFFFFFFFF
_FIXUP_STRIDE = 512
_READ_SIZE = 1 << 20


class NtfsImageError(FailedError):
    """What should be an NTFS made for a drill is not one that can be encrypted."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.DAMAGED_VOLUME)


@dataclass(frozen=True)
class Run:
    """Consecutive bytes of the volume that hold consecutive bytes of a file; `offset` None is a hole."""

    offset: int | None
    length: int


@dataclass(frozen=True)
class FileData:
    """A file's unnamed data: its size and where it lies, in order."""

    size: int
    runs: tuple[Run, ...]


class NtfsImage:
    """An NTFS that starts at byte `offset` of a stream and has `length` bytes of room.

    Raises NtfsImageError where the boot sector or a record makes no sense.
    """

    def __init__(self, stream: BinaryIO, offset: int, length: int) -> None:
        self._stream = stream
        self._offset = offset
        self.length = length
        boot = self._read(0, 512)
        if boot[3:11] != b"NTFS    ":
            raise NtfsImageError("there is no NTFS to encrypt at that place")
        sector_size, per_cluster = struct.unpack_from("<HB", boot, 0x0B)
        sectors, mft_cluster = struct.unpack_from("<QQ", boot, 0x28)
        (record_code,) = struct.unpack_from("<b", boot, 0x40)
        if sector_size != 512 or per_cluster == 0 or per_cluster & (per_cluster - 1):
            raise NtfsImageError("only NTFS with 512-byte sectors and clusters up to 64 KiB can be encrypted")
        self.cluster_size = sector_size * per_cluster
        self.cluster_count = sectors // per_cluster
        if not 0 < sectors * sector_size < length:
            raise NtfsImageError("the NTFS is larger than its partition")
        self._record_size = (
            1 << -record_code if -16 <= record_code < 0 else max(record_code, 0) * self.cluster_size
        )
        if self._record_size not in (1024, 2048, 4096):
            raise NtfsImageError("the NTFS has file records of an unknown size")
        first = self._read(mft_cluster * self.cluster_size, self._record_size)
        self._mft = self._data_of(first)

    def find_files(self, names: Collection[str]) -> dict[str, FileData]:
        """The data of files by their names (no folders: the names are unique); missing ones are left out."""
        wanted = set(names)
        found: dict[str, FileData] = {}
        for record in self._records():
            name = self._name_of(record)
            if name in wanted:
                found[name] = self._data_of(record)
                if len(found) == len(wanted):
                    break
        return found

    def used_ranges(self) -> list[tuple[int, int]]:
        """Start and end, in bytes, of every stretch of clusters that the file system has given out."""
        record = next(islice(self._records(), _BITMAP_RECORD, None), b"")
        bitmap = b"".join(
            self._read(run.offset, run.length) for run in self._data_of(record).runs if run.offset is not None
        )
        if len(bitmap) * 8 < self.cluster_count:
            raise NtfsImageError("the NTFS does not say which of its clusters are used")
        # As text of 0 and 1, lowest cluster first: the fastest way to find stretches without a library.
        bits = f"{int.from_bytes(bitmap, 'little'):b}"[::-1][: self.cluster_count]
        size = self.cluster_size
        return [(match.start() * size, match.end() * size) for match in re.finditer("1+", bits)]

    def _read(self, position: int, length: int) -> bytes:
        if position < 0 or position + length > self.length:
            raise NtfsImageError("the NTFS points outside its partition")
        self._stream.seek(self._offset + position)
        data = self._stream.read(length)
        if len(data) != length:
            raise NtfsImageError("the image ends before its NTFS does")
        return data

    def _records(self) -> Iterator[bytes]:
        """Every file record in order, fixups not yet undone."""
        for run in self._mft.runs:
            if run.offset is None:
                raise NtfsImageError("the NTFS has a hole in its table of files")
            for start in range(0, run.length, _READ_SIZE):
                part = self._read(run.offset + start, min(_READ_SIZE, run.length - start))
                for at in range(0, len(part) - self._record_size + 1, self._record_size):
                    yield part[at : at + self._record_size]

    def _attributes(self, raw: bytes) -> Iterator[tuple[int, bytes]]:
        """Type and bytes of each attribute of a record in use."""
        record = _undo_fixups(raw)
        if record is None:
            return
        start, flags = struct.unpack_from("<HH", record, 0x14)
        while flags & _IN_USE and start + 16 <= len(record):
            kind, length = struct.unpack_from("<II", record, start)
            if kind == _ATTRIBUTE_END:
                return
            if length < 24 or start + length > len(record):
                raise NtfsImageError("a file record of the NTFS is damaged")
            yield kind, record[start : start + length]
            start += length

    def _name_of(self, record: bytes) -> str | None:
        for kind, attribute in self._attributes(record):
            if kind == _ATTRIBUTE_FILE_NAME:
                (start,) = struct.unpack_from("<H", attribute, 20)
                length = attribute[start + 64] if start + 66 <= len(attribute) else 0
                name = attribute[start + 66 : start + 66 + 2 * length].decode("utf-16-le", "replace")
                if len(name) > 12 or "~" not in name:  # a short name may stand before the long one
                    return name
        return None

    def _data_of(self, record: bytes) -> FileData:
        """Raises NtfsImageError where a file has no data outside its record."""
        for kind, attribute in self._attributes(record):
            if kind == _ATTRIBUTE_DATA and attribute[8] and not attribute[9] and len(attribute) >= 64:
                (pairs,) = struct.unpack_from("<H", attribute, 0x20)
                (size,) = struct.unpack_from("<Q", attribute, 0x30)
                return FileData(size, tuple(self._runs(attribute[pairs:])))
        raise NtfsImageError("a file that should lie in clusters of its own does not")

    def _runs(self, pairs: bytes) -> Iterator[Run]:
        """Undo NTFS's packed list of runs: a byte of two sizes, a length, a signed step from the last run."""
        position = cluster = 0
        while position < len(pairs) and pairs[position]:
            length_bytes, step_bytes = pairs[position] & 15, pairs[position] >> 4
            end = position + 1 + length_bytes + step_bytes
            if length_bytes == 0 or end > len(pairs):
                raise NtfsImageError("a file's list of clusters is damaged")
            middle = position + 1 + length_bytes
            length = int.from_bytes(pairs[position + 1 : middle], "little") * self.cluster_size
            cluster += int.from_bytes(pairs[middle:end], "little", signed=True)
            yield Run(cluster * self.cluster_size if step_bytes else None, length)
            position = end


def _undo_fixups(raw: bytes) -> bytes | None:
    """A record with the last two bytes of each 512 put back; None where there is no record."""
    if raw[:4] != b"FILE":
        return None
    record = bytearray(raw)
    start, count = struct.unpack_from("<HH", record, 4)
    if count != len(record) // _FIXUP_STRIDE + 1 or start + 2 * count > len(record):
        raise NtfsImageError("a file record of the NTFS is damaged")
    for index in range(1, count):
        end = index * _FIXUP_STRIDE
        if record[end - 2 : end] != record[start : start + 2]:
            raise NtfsImageError("a file record of the NTFS is torn")
        record[end - 2 : end] = record[start + 2 * index : start + 2 * index + 2]
    return bytes(record)
