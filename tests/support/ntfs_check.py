"""Whether an NTFS volume's own records agree with one another: what `chkdsk` would find, found read-only.

Written from the format's description alone; shares no code with ntfs-3g, dissect or unbrick.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

_STRIDE = 512
_FILE_NAME, _DATA, _INDEX_ROOT, _INDEX_ALLOCATION, _BITMAP = 0x30, 0x80, 0x90, 0xA0, 0xB0
_LIST = 0x20
_IN_USE, _DIRECTORY = 1, 2
_VOLUME_BITMAP, _BAD_CLUSTERS, _SECURE = 6, 8, 9
_RIGHTS_COPY = 0x40000
_HAS_CHILD, _LAST = 1, 2
_SYSTEM_RECORDS = 24

Reference = tuple[int, int]
"""The number of a record, and how often it had been used before."""
Name = tuple[int, int, str]
"""The folder's record, the name's kind, the name."""


@dataclass(frozen=True)
class _Attribute:
    kind: int
    name: str
    value: bytes | None
    runs: tuple[tuple[int | None, int], ...]
    size: int


@dataclass
class _Record:
    sequence: int
    flags: int
    links: int
    base: int
    attributes: list[_Attribute] = field(default_factory=list)

    def find(self, kind: int, name: str = "") -> _Attribute | None:
        return next((a for a in self.attributes if (a.kind, a.name) == (kind, name)), None)


class TornError(Exception):
    """A block of several sectors of which not all were written."""


class _Volume:
    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        boot = self.read(0, 512)
        sector, per_cluster = struct.unpack_from("<HB", boot, 11)
        self.cluster: int = sector * per_cluster
        self.clusters = struct.unpack_from("<Q", boot, 0x28)[0] * sector // self.cluster
        mft, self.mirror = (number * self.cluster for number in struct.unpack_from("<QQ", boot, 0x30))
        (size,) = struct.unpack_from("<b", boot, 0x40)
        self.record: int = size * self.cluster if size > 0 else 1 << -size
        table = self.parse(self.read(mft, self.record)).find(_DATA)
        assert table is not None
        self.mft = self.content(table)

    def read(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(length)

    def content(self, attribute: _Attribute) -> bytes:
        if attribute.value is not None:
            return attribute.value
        parts = [
            bytes(count * self.cluster)
            if start is None
            else self.read(start * self.cluster, count * self.cluster)
            for start, count in attribute.runs
        ]
        return b"".join(parts)[: attribute.size]

    def parse(self, raw: bytes) -> _Record:
        data = unprotected(raw, b"FILE")
        sequence, links, first, flags = struct.unpack_from("<HHHH", data, 16)
        (base,) = struct.unpack_from("<Q", data, 32)
        record = _Record(sequence, flags, links, base & 0xFFFFFFFFFFFF)
        position = first
        while struct.unpack_from("<I", data, position)[0] != 0xFFFFFFFF:
            (length,) = struct.unpack_from("<I", data, position + 4)
            record.attributes.append(_attribute(data[position : position + length]))
            position += length
        return record


def unprotected(block: bytes, magic: bytes) -> bytes:
    """A block with its update sequence taken out; raises TornError."""
    if block[:4] != magic:
        raise TornError(f"begins with {block[:4]!r}")
    offset, count = struct.unpack_from("<HH", block, 4)
    number = block[offset : offset + 2]
    data = bytearray(block)
    for index in range(1, count):
        tail = index * _STRIDE - 2
        if block[tail : tail + 2] != number:
            raise TornError("is torn")
        data[tail : tail + 2] = block[offset + 2 * index : offset + 2 * index + 2]
    return bytes(data)


def _attribute(raw: bytes) -> _Attribute:
    kind, _, foreign, name_length, name_at = struct.unpack_from("<IIBBH", raw)
    name = raw[name_at : name_at + 2 * name_length].decode("utf-16-le")
    if not foreign:
        size, start = struct.unpack_from("<IH", raw, 16)
        return _Attribute(kind, name, raw[start : start + size], (), size)
    (start,) = struct.unpack_from("<H", raw, 32)
    (size,) = struct.unpack_from("<Q", raw, 48)
    return _Attribute(kind, name, None, tuple(_runs(raw[start:])), size)


def _runs(raw: bytes) -> Iterator[tuple[int | None, int]]:
    position = cluster = 0
    while raw[position]:
        size, reach = raw[position] & 15, raw[position] >> 4
        count = int.from_bytes(raw[position + 1 : position + 1 + size], "little")
        moved = raw[position + 1 + size : position + 1 + size + reach]
        cluster += int.from_bytes(moved, "little", signed=True)
        yield (cluster if reach else None), count
        position += 1 + size + reach


def inconsistencies(stream: BinaryIO) -> frozenset[str]:
    """What two places on a volume say differently, each beginning with a word for its kind.

    `torn` a block is half written; `double` a cluster belongs to two files; `unowned` a cluster or record is
    in use but marked free; `leaked` the reverse; `dangling` a name is listed that its file does not have;
    `unlisted` a file's name that its folder does not list; `links` a wrong count of names; `mirror` the
    first records differ from their mirror; `rights` the two copies of the access rights differ.
    """
    try:
        volume = _Volume(stream)
    except TornError as error:
        return frozenset({f"torn: the file table {error}"})
    said: set[str] = set()
    records = _read_records(volume, said)
    said.update(_check_records(volume, records))
    said.update(_check_clusters(volume, records))
    said.update(_check_names(volume, records))
    said.update(_check_rights(volume, records))
    if volume.read(volume.mirror, 4 * volume.record) != volume.mft[: 4 * volume.record]:
        said.add("mirror: the first records differ from their mirror")
    return frozenset(said)


def _read_records(volume: _Volume, said: set[str]) -> dict[int, _Record]:
    records = {}
    for number in range(len(volume.mft) // volume.record):
        raw = volume.mft[number * volume.record : (number + 1) * volume.record]
        if not any(raw[:4]):
            continue
        try:
            records[number] = volume.parse(raw)
        except TornError as error:
            said.add(f"torn: record {number} {error}")
    return records


def _check_records(volume: _Volume, records: dict[int, _Record]) -> Iterator[str]:
    bitmap = records[0].find(_BITMAP)
    assert bitmap is not None
    marked = volume.content(bitmap)
    for number, record in records.items():
        taken = bool(marked[number // 8] >> number % 8 & 1)
        used = bool(record.flags & _IN_USE)
        if number >= _SYSTEM_RECORDS and taken != used:
            yield f"{'leaked' if taken else 'unowned'}: record {number}"


def _check_clusters(volume: _Volume, records: dict[int, _Record]) -> Iterator[str]:
    owners: Counter[int] = Counter()
    for number, record in records.items():
        if not record.flags & _IN_USE:
            continue
        for attribute in record.attributes:
            if number == _BAD_CLUSTERS and attribute.name == "$Bad":
                continue
            for start, count in attribute.runs:
                if start is not None:  # a damaged one may claim more than there is memory for
                    owners.update(range(max(start, 0), min(start + count, volume.clusters)))
    bitmap = records[_VOLUME_BITMAP].find(_DATA)
    assert bitmap is not None
    marked = volume.content(bitmap)
    for cluster in range(volume.clusters):
        taken = bool(marked[cluster // 8] >> cluster % 8 & 1)
        if owners[cluster] > 1:
            yield f"double: cluster {cluster}"
        if taken != bool(owners[cluster]):
            yield f"{'leaked' if taken else 'unowned'}: cluster {cluster}"


def _check_names(volume: _Volume, records: dict[int, _Record]) -> Iterator[str]:
    listed: set[tuple[int, Name]] = set()
    for number, record in records.items():
        if record.flags & _IN_USE and record.flags & _DIRECTORY and not record.base:
            said: set[str] = set()
            for (target, sequence), name in _listed(volume, number, record, said):
                found = records.get(target)
                if found is None or not found.flags & _IN_USE or found.sequence != sequence:
                    yield f"dangling: {name[2]} in folder {number} leads to no file"
                elif (number, *name[1:]) not in _names_of(records, target):
                    yield f"dangling: {name[2]} in folder {number} is no name of file {target}"
                listed.add((target, name))
            yield from said
    for number, record in records.items():
        if record.flags & _IN_USE and not record.base:
            names = _names_of(records, number)
            for name in names:
                if (number, name) not in listed:
                    yield f"unlisted: {name[2]} of file {number}, folder {name[0]}"
            if record.links != len(names):
                yield f"links: file {number} has {len(names)} names and counts {record.links}"


def _check_rights(volume: _Volume, records: dict[int, _Record]) -> Iterator[str]:
    """Every second 256 KiB of the stream of access rights repeats those before."""
    stream = records[_SECURE].find(_DATA, "$SDS") if _SECURE in records else None
    rights = volume.content(stream) if stream else b""
    for first in range(0, len(rights), 2 * _RIGHTS_COPY):
        copy = rights[first + _RIGHTS_COPY : first + 2 * _RIGHTS_COPY]
        if rights[first : first + len(copy)] != copy:
            yield f"rights: the two copies differ after {first}"


def _names_of(records: dict[int, _Record], number: int) -> list[Name]:
    own = [records[number]]
    if records[number].find(_LIST) is not None:
        own += [record for record in records.values() if record.base == number]
    return [
        _name(attribute.value)
        for record in own
        for attribute in record.attributes
        if attribute.kind == _FILE_NAME and attribute.value is not None
    ]


def _name(value: bytes) -> Name:
    (parent,) = struct.unpack_from("<Q", value)
    length, kind = value[64], value[65]
    return parent & 0xFFFFFFFFFFFF, kind, value[66 : 66 + 2 * length].decode("utf-16-le")


def _listed(
    volume: _Volume, number: int, folder: _Record, said: set[str]
) -> Iterator[tuple[Reference, Name]]:
    """What a folder lists, by going down its tree as a look-up would."""
    root, blocks = folder.find(_INDEX_ROOT, "$I30"), folder.find(_INDEX_ALLOCATION, "$I30")
    if root is None or root.value is None:
        return
    (size,) = struct.unpack_from("<I", root.value, 8)
    content = volume.content(blocks) if blocks else b""
    nodes = [root.value[16:]]
    seen: set[int] = set()
    while nodes:
        for child, entry in _entries(nodes.pop()):
            if entry is not None:
                yield entry
            if child is None:
                continue
            if child in seen:
                said.add(f"double: block {child} of folder {number}")
                continue
            seen.add(child)
            at = child * min(volume.cluster, size)
            try:
                nodes.append(unprotected(content[at : at + size], b"INDX")[24:])
            except TornError as error:
                said.add(f"torn: block {child} of folder {number} {error}")


def _entries(node: bytes) -> Iterator[tuple[int | None, tuple[Reference, Name] | None]]:
    position, end = struct.unpack_from("<II", node)
    while position < end:
        reference, length, key, flags = struct.unpack_from("<QHHI", node, position)
        child = struct.unpack_from("<Q", node, position + length - 8)[0] if flags & _HAS_CHILD else None
        if flags & _LAST:
            yield child, None
            return
        name = _name(node[position + 16 : position + 16 + key])
        yield child, ((reference & 0xFFFFFFFFFFFF, reference >> 48), name)
        position += length


def is_marked_dirty(stream: BinaryIO) -> bool:
    """Whether Windows would check the volume when it starts; raises TornError."""
    volume = _Volume(stream)
    record = volume.parse(volume.mft[3 * volume.record : 4 * volume.record])
    information = record.find(0x70)
    assert information is not None
    assert information.value is not None
    return bool(information.value[10] & 1)
