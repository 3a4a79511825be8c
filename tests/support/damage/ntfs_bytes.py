"""An NTFS volume's bytes and where its structures lie in them, to be hurt in place or to be judged.

Written from the format's description alone; shares no code with ntfs-3g, dissect or unbrick.
"""

from __future__ import annotations

import copy
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from support.small_ntfs import pack_runs

STANDARD, LIST, FILE_NAME, SECURITY = 0x10, 0x20, 0x30, 0x50
VOLUME_INFORMATION, DATA, INDEX_ROOT, INDEX_ALLOCATION, BITMAP = 0x70, 0x80, 0x90, 0xA0, 0xB0
TABLE, MIRROR, LOG, VOLUME, ATTRIBUTE_DEFINITIONS, ROOT, CLUSTER_BITMAP, BOOT = range(8)
SECURE, UPPER_CASE = 9, 10
FIRST_USER_RECORD = 24
IN_USE, FOLDER = 1, 2
SECTOR = 512

_END = 0xFFFFFFFF
_MOST_RUNS = 10_000

Run = tuple[int | None, int]
"""First cluster (None for a hole) and number of clusters."""


class Bytes(Protocol):
    """A `bytearray` or a `mmap`."""

    def __getitem__(self, part: slice, /) -> bytes | bytearray: ...

    def __setitem__(self, part: slice, value: bytes, /) -> None: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Attribute:
    """One attribute of a record; `at` is where it begins in the record, `value_at` where its value does."""

    kind: int
    name: str
    at: int
    length: int
    resident: bool
    value_at: int
    size: int
    runs: tuple[Run, ...]


class NotHereError(Exception):
    """What is to be hurt is not there, or does not fit."""


class NtfsBytes:
    """A volume: its shape is read once, when it is still sound, and stays what it was then."""

    def __init__(self, data: Bytes) -> None:
        self.data = data
        boot = bytes(data[0:512])
        sector, per_cluster = struct.unpack_from("<HB", boot, 11)
        self.cluster: int = sector * per_cluster
        self.clusters: int = struct.unpack_from("<Q", boot, 0x28)[0] // per_cluster
        self.table_cluster, self.mirror_cluster = struct.unpack_from("<QQ", boot, 0x30)
        (size,) = struct.unpack_from("<b", boot, 0x40)
        self.record: int = size * self.cluster if size > 0 else 1 << -size
        at = self.table_cluster * self.cluster
        first = unprotected(bytes(data[at : at + self.record]))
        if first is None:
            raise NotHereError("no file table")
        self.table = self.find(first, DATA).runs

    @classmethod
    def like(cls, sound: NtfsBytes, data: Bytes) -> NtfsBytes:
        """Other bytes, read by the shape of a sound volume."""
        volume = copy.copy(sound)
        volume.data = data
        return volume

    @property
    def records(self) -> int:
        """How many records the file table has room for."""
        return sum(count for _, count in self.table) * self.cluster // self.record

    def place(self, number: int) -> int:
        """Where a record lies, in bytes."""
        return self.place_in(self.table, number * self.record)

    def place_in(self, runs: tuple[Run, ...], offset: int) -> int:
        """Where a byte of an attribute lies on the volume."""
        for start, count in runs:
            if offset < count * self.cluster:
                if start is None:
                    break
                return start * self.cluster + offset
            offset -= count * self.cluster
        raise NotHereError("beyond the attribute")

    def read(self, number: int) -> bytearray:
        """A record with its update sequence taken out."""
        at = self.place(number)
        record = unprotected(bytes(self.data[at : at + self.record]))
        if record is None:
            raise NotHereError(f"record {number} is none")
        return record

    def write(self, number: int, record: bytearray) -> None:
        """Put a record there, protected."""
        at = self.place(number)
        self.data[at : at + self.record] = protected(record)

    def find(self, record: bytearray, kind: int, name: str | None = None) -> Attribute:
        """An attribute of a record."""
        for attribute in attributes(record):
            if attribute.kind == kind and name in (None, attribute.name):
                return attribute
        raise NotHereError(f"no attribute {kind:#x}")

    def set_runs(
        self, number: int, kind: int, runs: list[Run], *, name: str | None = None, sizes: bool = True
    ) -> None:
        """Give an attribute another list of clusters; with `sizes` its sizes say the same."""
        record = self.read(number)
        attribute = self.find(record, kind, name)
        if attribute.resident:
            raise NotHereError("the attribute is resident")
        (start,) = struct.unpack_from("<H", record, attribute.at + 32)
        packed = pack_runs(runs)
        length = start + len(packed) + 7 & ~7
        (used,) = struct.unpack_from("<I", record, 0x18)
        end = attribute.at + attribute.length
        if used + length - attribute.length > len(record):
            raise NotHereError("the list is too long")
        head = bytes(record[attribute.at : attribute.at + start])
        rest = bytes(record[end:used])
        changed = bytes(record[: attribute.at]) + (head + packed).ljust(length, b"\0") + rest
        record[:] = changed.ljust(len(record), b"\0")
        struct.pack_into("<I", record, attribute.at + 4, length)
        struct.pack_into("<I", record, 0x18, used + length - attribute.length)
        if sizes:
            clusters = sum(count for _, count in runs)
            struct.pack_into("<Q", record, attribute.at + 24, max(clusters - 1, 0))
            struct.pack_into("<Q", record, attribute.at + 40, clusters * self.cluster)
        self.write(number, record)

    def runs(self, number: int, kind: int, name: str | None = None) -> list[Run]:
        """The clusters of an attribute that has some."""
        attribute = self.find(self.read(number), kind, name)
        if attribute.resident or not attribute.runs:
            raise NotHereError("the attribute is resident")
        return list(attribute.runs)

    def content(self, number: int, kind: int, name: str | None = None) -> bytes:
        """All bytes of an attribute."""
        record = self.read(number)
        attribute = self.find(record, kind, name)
        if attribute.resident:
            return bytes(record[attribute.value_at : attribute.value_at + attribute.size])
        parts = (
            bytes(count * self.cluster)
            if start is None
            else bytes(self.data[start * self.cluster : (start + count) * self.cluster])
            for start, count in attribute.runs
        )
        return b"".join(parts)[: attribute.size]

    def in_use(self) -> Iterator[tuple[int, bytearray]]:
        """Number and content of each record in use that can be read."""
        for number in range(self.records):
            try:
                record = self.read(number)
            except NotHereError:
                continue
            if struct.unpack_from("<H", record, 0x16)[0] & IN_USE:
                yield number, record

    def names(self, record: bytearray) -> list[tuple[int, str]]:
        """Each name of a record with its folder's number."""
        found = []
        for attribute in attributes(record):
            if attribute.kind == FILE_NAME and attribute.resident:
                value = bytes(record[attribute.value_at : attribute.value_at + attribute.size])
                if len(value) >= 66:
                    (folder,) = struct.unpack_from("<Q", value)
                    name = value[66 : 66 + 2 * value[64]].decode("utf-16-le", "replace")
                    found.append((folder & 0xFFFFFFFFFFFF, name))
        return found

    def find_record(self, path: str) -> int:
        """The record of a file or folder by its Windows path."""
        number = ROOT
        for part in path.strip("\\").split("\\"):
            number = self._child(number, part)
        return number

    def _child(self, folder: int, name: str) -> int:
        for number, record in self.in_use():
            if (folder, name.casefold()) in ((above, one.casefold()) for above, one in self.names(record)):
                return number
        raise NotHereError(f"no {name}")

    def index_blocks(self, folder: int) -> list[int]:
        """Where the index blocks of a folder lie."""
        runs = self.runs(folder, INDEX_ALLOCATION)
        return [
            (start + index) * self.cluster
            for start, count in runs
            if start is not None
            for index in range(count)
            if self.data[(start + index) * self.cluster : (start + index) * self.cluster + 4] == b"INDX"
        ]


def unprotected(block: bytes) -> bytearray | None:
    """A block of several sectors with its update sequence taken out; None where it is torn, or none."""
    if len(block) < SECTOR or block[:4] not in (b"FILE", b"INDX", b"RSTR", b"RCRD"):
        return None
    offset, count = struct.unpack_from("<HH", block, 4)
    if count != len(block) // SECTOR + 1 or offset + 2 * count > len(block):
        return None
    result = bytearray(block)
    for index in range(1, count):
        tail = index * SECTOR - 2
        if block[tail : tail + 2] != block[offset : offset + 2]:
            return None
        result[tail : tail + 2] = block[offset + 2 * index : offset + 2 * index + 2]
    return result


def protected(block: bytearray) -> bytes:
    """The reverse; the update sequence's number stays."""
    result = bytearray(block)
    offset, count = struct.unpack_from("<HH", block, 4)
    for index in range(1, count):
        tail = index * SECTOR - 2
        result[offset + 2 * index : offset + 2 * index + 2] = block[tail : tail + 2]
        result[tail : tail + 2] = block[offset : offset + 2]
    return bytes(result)


def attributes(record: bytearray) -> Iterator[Attribute]:
    """The attributes of a record, up to the first that makes no sense."""
    (at,) = struct.unpack_from("<H", record, 0x14)
    while at + 24 <= len(record):
        kind, length, foreign, name_length, name_at = struct.unpack_from("<IIBBH", record, at)
        if kind == _END or length < 24 or at + length > len(record):
            return
        name = bytes(record[at + name_at : at + name_at + 2 * name_length]).decode("utf-16-le", "replace")
        if not foreign:
            size, start = struct.unpack_from("<IH", record, at + 16)
            yield Attribute(kind, name, at, length, True, at + start, size, ())
        elif length >= 64:
            (start,) = struct.unpack_from("<H", record, at + 32)
            (size,) = struct.unpack_from("<Q", record, at + 48)
            runs = tuple(unpack_runs(bytes(record[at + start : at + length])))
            yield Attribute(kind, name, at, length, False, at + start, size, runs)
        at += length


def insert_attribute(record: bytearray, raw: bytes) -> int:
    """Put an attribute (its head and all) into an unprotected record, behind all of no higher kind.

    Gives the number that it has there. Raises NotHereError where there is no room.
    """
    length = len(raw) + 7 & ~7
    (kind,) = struct.unpack_from("<I", raw)
    (used,) = struct.unpack_from("<I", record, 0x18)
    if used + length > len(record):
        raise NotHereError("the record is full")
    (at,) = struct.unpack_from("<H", record, 0x14)
    for attribute in attributes(record):
        if attribute.kind > kind:
            break
        at = attribute.at + attribute.length
    whole = bytearray(raw.ljust(length, b"\0"))
    struct.pack_into("<I", whole, 4, length)
    (number,) = struct.unpack_from("<H", record, 0x28)
    struct.pack_into("<H", whole, 14, number)
    struct.pack_into("<H", record, 0x28, number + 1)
    record[at:] = (bytes(whole) + bytes(record[at:used])).ljust(len(record) - at, b"\0")
    struct.pack_into("<I", record, 0x18, used + length)
    return int(number)


def remove_attribute(record: bytearray, attribute: Attribute) -> bytes:
    """Take an attribute out of an unprotected record; gives its bytes, head and all."""
    (used,) = struct.unpack_from("<I", record, 0x18)
    end = attribute.at + attribute.length
    raw = bytes(record[attribute.at : end])
    record[attribute.at :] = bytes(record[end:used]).ljust(len(record) - attribute.at, b"\0")
    struct.pack_into("<I", record, 0x18, used - attribute.length)
    return raw


def resident(kind: int, value: bytes) -> bytes:
    """An attribute without a name whose value lies in the record; `insert_attribute` numbers it."""
    return struct.pack("<IIBBHHHIHH", kind, 0, 0, 0, 24, 0, 0, len(value), 24, 0) + value


def foreign(kind: int, runs: list[Run], size: int, cluster: int, first: int = 0) -> bytes:
    """An attribute without a name whose value lies in clusters, those from `first` on."""
    clusters = sum(count for _, count in runs)
    sizes = (0, 0, 0) if first else (clusters * cluster, size, size)
    head = (kind, 0, 1, 0, 64, 0, 0, first, first + clusters - 1, 64, 0, 0, *sizes)
    return struct.pack("<IIBBHHHQQHHIQQQ", *head) + pack_runs(runs)


def list_entry(kind: int, record: int, sequence: int, *, first: int = 0, number: int = 0) -> bytes:
    """An entry of an attribute list, for an attribute without a name."""
    reference = sequence << 48 | record
    return struct.pack("<IHBBQQH6x", kind, 32, 0, 26, first, reference, number)


def is_whole(record: bytearray) -> bool:
    """Whether the attributes of a record end as they should."""
    (at,) = struct.unpack_from("<H", record, 0x14)
    for attribute in attributes(record):
        at = attribute.at + attribute.length
    return at + 4 <= len(record) and record[at : at + 4] == b"\xff\xff\xff\xff"


def unpack_runs(raw: bytes) -> Iterator[Run]:
    """NTFS's packed list, up to where it makes no sense."""
    position = cluster = 0
    for _ in range(_MOST_RUNS):
        if position >= len(raw) or raw[position] == 0:
            return
        size, reach = raw[position] & 15, raw[position] >> 4
        end = position + 1 + size + reach
        if not size or end > len(raw):
            return
        count = int.from_bytes(raw[position + 1 : position + 1 + size], "little")
        cluster += int.from_bytes(raw[position + 1 + size : end], "little", signed=True)
        yield (cluster if reach else None), count
        position = end
