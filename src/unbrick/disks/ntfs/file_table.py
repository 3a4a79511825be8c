"""NTFS's file table, `$MFT`: its records, wherever they are, and what they say of each file.

Reads a view of bytes, never mounts, and shares nothing with the driver that makes the changes: this code
checks that driver. Follows attribute lists. The layout is that of the Linux-NTFS project's documentation and
of Brian Carrier's "File System Forensic Analysis", chapters 11 to 13. All of it is hostile input.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import (
    ATTRIBUTE_LIST,
    BITMAP,
    DATA,
    FILE_NAME,
    REFERENCE,
    TOGETHER,
    Attribute,
    ByteView,
    Geometry,
    attributes,
    damaged,
    read_record,
    unprotect,
)

_IN_USE = 0x0001
_DIRECTORY = 0x0002
_MOST_EXTENSIONS = 4096
_LARGEST_LIST = 1 << 18
_DOS_NAME = 2
_DEEPEST = 256
_MOST_RECORDS = 1 << 27
ROOT = 5


@dataclass(frozen=True)
class Name:
    """One name of a file: the record of its folder with that record's sequence number, and the name.

    `short`: an 8.3 name beside a long one.
    """

    parent: int
    sequence: int
    text: str
    short: bool


@dataclass(frozen=True)
class Record:
    """One record of the table that can be read, in use or not."""

    number: int
    data: bytes

    @property
    def in_use(self) -> bool:
        return bool(self._flags & _IN_USE)

    @property
    def is_folder(self) -> bool:
        return bool(self._flags & _DIRECTORY)

    @property
    def _flags(self) -> int:
        return int.from_bytes(self.data[0x16:0x18], "little")

    @property
    def sequence(self) -> int:
        """Counts the files that had this record."""
        return int.from_bytes(self.data[0x10:0x12], "little")

    @property
    def base(self) -> int | None:
        """The record that this one is an extension of."""
        reference = int.from_bytes(self.data[0x20:0x28], "little")
        return reference & REFERENCE if reference else None

    @property
    def own_number(self) -> int | None:
        """The number that it states; None on volumes older than Windows XP's, which keep none."""
        return int.from_bytes(self.data[0x2C:0x30], "little") if self.data[4:6] >= b"\x30\0" else None


class FileTable:
    """The file table of a volume, opened by `open_table`.

    What reads attributes, names or the bitmap raises NeedsHandsError (damaged-volume).
    """

    def __init__(self, view: ByteView, geometry: Geometry, stream: Stream) -> None:
        self.view = view
        self.geometry = geometry
        self.stream = stream
        self.count = stream.size // geometry.record
        self._bitmap: bytes | None = None

    def raw(self, number: int) -> bytes:
        """A record's bytes as they are on the volume; fewer where the table ends."""
        return self.stream.read(number * self.geometry.record, self.geometry.record)

    def find(self, number: int) -> Record | None:
        """A record; None where none can be read there."""
        if not 0 <= number < self.count:
            return None
        data = unprotect(self.raw(number), b"FILE")
        return None if data is None else Record(number, data)

    def find_used(self, number: int) -> Record | None:
        """A record that a file, or a part of one, is in."""
        record = self.find(number)
        return record if record is not None and record.in_use else None

    def read(self, number: int) -> Record:
        record = self.find(number)
        if record is None:
            raise damaged(f"record {number} of its file table cannot be read")
        return record

    def attributes(self, number: int) -> list[Attribute]:
        """All attributes of a file, in all its records, each once with all its runs.

        An attribute list is followed, and is itself among them.
        """
        record = self.read(number)
        found = list(attributes(record.data, self.geometry))
        listed = next((one for one in found if one.kind == ATTRIBUTE_LIST), None)
        if listed is None:
            return found
        parts: dict[int, list[Attribute]] = {number: found}
        for other in _listed_records(_value(self.view, listed)):
            if other not in parts:
                extension = self.read(other)
                if extension.base != number or not extension.in_use or len(parts) > _MOST_EXTENSIONS:
                    raise damaged(f"an attribute list of its file table is wrong (record {number})")
                parts[other] = list(attributes(extension.data, self.geometry))
        return _joined([one for part in parts.values() for one in part], number)

    def find_attribute(self, number: int, kind: int, name: str = "") -> Attribute | None:
        return next((one for one in self.attributes(number) if (one.kind, one.name) == (kind, name)), None)

    def names(self, number: int) -> list[Name]:
        """Every name of a file, an 8.3 name of its own included."""
        return [parse_name(one.value or b"") for one in self.attributes(number) if one.kind == FILE_NAME]

    def long_name(self, number: int) -> Name:
        """A file's name, or one of them."""
        found = next((one for one in self.names(number) if not one.short), None)
        if found is None:
            raise damaged(f"a file has no name (record {number})")
        return found

    def path(self, name: Name) -> str:
        """The Windows path of a name, by the names of the folders above it.

        Raises NeedsHandsError (damaged-volume) where one is no folder, or its record belongs to another file
        by now.
        """
        parts = [name.text]
        for _ in range(_DEEPEST):
            folder = self.read(name.parent)
            if not folder.in_use or not folder.is_folder or folder.sequence != name.sequence:
                raise damaged(f"a file names record {name.parent} as its folder, but that is not a folder")
            if name.parent == ROOT:
                return "\\" + "\\".join(reversed(parts))
            name = self.long_name(name.parent)
            parts.append(name.text)
        raise damaged("its folders contain each other in a circle")

    def is_marked_used(self, number: int) -> bool:
        """Whether the table's own bitmap says that a record is in use."""
        bitmap = self.bitmap()
        return number // 8 < len(bitmap) and bool(bitmap[number // 8] >> number % 8 & 1)

    def bitmap(self) -> bytes:
        """The table's own bitmap, as far as there are records."""
        if self._bitmap is None:
            found = self.find_attribute(0, BITMAP)
            if found is None:
                raise damaged("its file table has no bitmap")
            length = -(-self.count // 8)
            whole = found.value if found.value is not None else open_stream(self.view, found).read(0, length)
            self._bitmap = whole[:length]
            if len(self._bitmap) < length:
                raise damaged("the bitmap of its file table is too short")
        return self._bitmap


def open_table(view: ByteView, geometry: Geometry) -> FileTable:
    """The file table; raises NeedsHandsError (damaged-volume) where it contradicts itself."""
    found = list(attributes(read_record(view, geometry, 0), geometry))
    data = next((one for one in found if one.kind == DATA and not one.name), None)
    if data is None or data.value is not None or not data.runs or data.first:
        raise damaged("its file table does not say where it lies")
    if data.runs[0].offset != geometry.mft:
        raise damaged("its file table does not lie where its boot sector says")
    table = FileTable(view, geometry, Stream(view, data.runs, min(data.size, data.length)))
    if any(one.kind == ATTRIBUTE_LIST for one in found):
        # The records that list the table's other runs are in the part that is known already.
        data = table.find_attribute(0, DATA)
        assert data is not None
    expect_whole(data, "its file table")
    if any(run.offset is None for run in data.runs):
        raise damaged("its file table has holes")
    if data.initialized // geometry.record > _MOST_RECORDS:
        raise damaged("its file table is larger than any that can be checked from here")
    return FileTable(view, geometry, Stream(view, data.runs, data.initialized))


def open_stream(view: ByteView, attribute: Attribute) -> Stream:
    """The bytes in an attribute's runs; raises NeedsHandsError (damaged-volume) where its sizes are wrong."""
    expect_whole(attribute, "a file of its own")
    return Stream(view, attribute.runs, attribute.size)


def expect_whole(attribute: Attribute, what: str) -> None:
    """Raise NeedsHandsError (damaged-volume) where an attribute's sizes contradict its runs."""
    sizes = (attribute.initialized, attribute.size, attribute.allocated)
    if attribute.first or not 0 <= sizes[0] <= sizes[1] <= sizes[2] or sizes[2] != attribute.length:
        raise damaged(f"the sizes of {what} contradict its clusters")
    placed = sorted((run.offset, run.length) for run in attribute.runs if run.offset is not None)
    end = 0
    for offset, length in placed:
        if offset < end:
            raise damaged(f"{what} claims a cluster twice")
        end = offset + length


def parse_name(value: bytes) -> Name:
    """The name in a `$FILE_NAME`; raises NeedsHandsError (damaged-volume)."""
    if len(value) < 0x42 or len(value) < 0x42 + 2 * value[0x40]:
        raise damaged("a name in its file table is cut short")
    (reference,) = struct.unpack_from("<Q", value)
    text = value[0x42 : 0x42 + 2 * value[0x40]].decode("utf-16-le", "surrogatepass")
    return Name(reference & REFERENCE, reference >> 48, text, value[0x41] == _DOS_NAME)


def _value(view: ByteView, attribute: Attribute) -> bytes:
    if attribute.value is not None:
        return attribute.value
    if attribute.size > _LARGEST_LIST:
        raise damaged("an attribute of its file table is larger than any")
    return Stream(view, attribute.runs, attribute.size).read(0, attribute.size)


def _listed_records(data: bytes) -> Iterator[int]:
    position = 0
    while position < len(data):
        if position + 0x1A > len(data):
            raise damaged("an attribute list of its file table is cut short")
        (length,) = struct.unpack_from("<H", data, position + 4)
        (reference,) = struct.unpack_from("<Q", data, position + 0x10)
        if length < 0x1A:
            raise damaged("an attribute list of its file table is wrong")
        yield reference & REFERENCE
        position += length


def _joined(parts: Sequence[Attribute], number: int) -> list[Attribute]:
    """Attributes with all their runs, which may be in several records."""
    whole: list[Attribute] = []
    pieces: dict[tuple[int, str], list[Attribute]] = {}
    for one in parts:
        if one.value is not None:
            whole.append(one)
        else:
            pieces.setdefault((one.kind, one.name), []).append(one)
    for some in pieces.values():
        some.sort(key=lambda piece: piece.first)
        end = 0
        for piece in some:
            if piece.first != end:
                raise damaged(f"the list of a file's clusters has a gap (record {number})")
            end += piece.length
        whole.append(replace(some[0], runs=tuple(run for piece in some for run in piece.runs)))
    return whole


def find_data(view: ByteView, geometry: Geometry, number: int) -> Attribute | None:
    """The unnamed data of a file by its record; raises NeedsHandsError (damaged-volume)."""
    if number < TOGETHER:  # these are found without record 0, which may be torn
        found = list(attributes(read_record(view, geometry, number), geometry))
        if all(one.kind != ATTRIBUTE_LIST for one in found):
            return next((one for one in found if one.kind == DATA and not one.name), None)
    return open_table(view, geometry).find_attribute(number, DATA)
