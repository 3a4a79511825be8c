"""Whose each cluster is, by every file record that can be read, and what the bitmap says of it."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from support.damage.ntfs_bytes import (
    BITMAP,
    CLUSTER_BITMAP,
    DATA,
    FOLDER,
    IN_USE,
    LIST,
    ROOT,
    TABLE,
    Attribute,
    Bytes,
    NotHereError,
    NtfsBytes,
    Run,
    attributes,
    is_whole,
    unprotected,
)

Owner = tuple[int, int, str]
"""A record, and the kind and the name of one of its attributes."""


@dataclass(frozen=True)
class Record:
    """What a file record says of itself. `whole`: all of it could be read. `base`: what it goes on."""

    in_use: bool
    whole: bool
    folder: bool
    base: int
    names: tuple[tuple[int, str], ...]
    attributes: tuple[Attribute, ...]


@dataclass
class Claims:
    """All records by number and place, and the owners of every cluster that has any.

    `tables` are the places at which the file table is said to lie; `marks` is the bitmap, None where none.
    """

    volume: NtfsBytes
    tables: tuple[tuple[Run, ...], ...]
    records: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[int, set[Owner]] = field(default_factory=lambda: defaultdict(set))
    marks: int | None = None

    def is_marked(self, cluster: int) -> bool:
        """Whether the bitmap calls it used; when in doubt, it does."""
        return self.marks is None or bool(self.marks >> cluster & 1)

    def name(self, number: int) -> str:
        """A file's name, to be shown."""
        names = [name for record in self.records.get(number, ()) for _, name in record.names]
        return max(names, key=len, default="?")

    def paths(self) -> Mapping[int, str]:
        """A path of every record, by its folders' names."""
        found: dict[int, str] = {ROOT: ""}

        def path_of(number: int, depth: int) -> str:
            if number not in found and depth:
                above = [one for record in self.records.get(number, ()) for one in record.names]
                parent, name = max(above, key=lambda one: len(one[1]), default=(ROOT, "?"))
                found[number] = f"{path_of(parent, depth - 1)}\\{name}"
            return found.get(number, "?")

        for number in list(self.records):
            path_of(number, 64)
        return found


def read_claims(data: Bytes, sound: NtfsBytes) -> Claims:
    """Of a volume that may be damaged; `sound` is the shape it had before."""
    tables = [sound.table]
    other = _own_table(data, sound)
    if other is not None and other != sound.table:
        tables.append(other)
    claims = Claims(NtfsBytes.like(sound, data), tuple(tables))
    for table in tables:
        for number in range(sum(count for _, count in table) * sound.cluster // sound.record):
            try:
                at = sound.place_in(table, number * sound.record)
            except NotHereError:
                continue
            block = bytes(data[at : at + sound.record])
            record = unprotected(block) if block[:4] == b"FILE" else None
            if record is not None and len(record) == sound.record:
                _add(claims, number, record)
    claims.marks = _read_marks(claims)
    return claims


def _add(claims: Claims, number: int, record: bytearray) -> None:
    (flags,) = struct.unpack_from("<H", record, 0x16)
    (base,) = struct.unpack_from("<Q", record, 0x20)
    found = tuple(attributes(record))
    claims.records[number].append(
        Record(
            bool(flags & IN_USE),
            is_whole(record),
            bool(flags & FOLDER),
            base & (1 << 48) - 1,
            tuple(claims.volume.names(record)),
            found,
        )
    )
    if not flags & IN_USE:
        return
    for attribute in found:
        if number == 8 and attribute.name == "$Bad":
            continue
        for start, count in attribute.runs:
            if start is not None and 0 <= start < claims.volume.clusters:
                for cluster in range(start, min(start + count, claims.volume.clusters)):
                    claims.owners[cluster].add((number, attribute.kind, attribute.name))


def _own_table(data: Bytes, sound: NtfsBytes) -> tuple[Run, ...] | None:
    """Where the damaged volume itself says that its file table lies."""
    (cluster,) = struct.unpack("<Q", bytes(data[0x30:0x38]))
    at = cluster * sound.cluster
    if at + sound.record > len(data):
        return None
    record = unprotected(bytes(data[at : at + sound.record]))
    if record is None or len(record) != sound.record:
        return None
    for attribute in attributes(record):
        if attribute.kind == DATA and not attribute.name and not attribute.resident:
            limit = sound.clusters
            return tuple((start, min(count, limit)) for start, count in attribute.runs[:2000])
    return None


def _read_marks(claims: Claims) -> int | None:
    volume = claims.volume
    try:
        record = volume.read(CLUSTER_BITMAP)
        attribute = volume.find(record, DATA)
    except NotHereError:
        return None
    if sum(count for _, count in attribute.runs) * volume.cluster * 8 < volume.clusters:
        return None
    parts = (
        bytes(count * volume.cluster)
        if start is None
        else bytes(volume.data[start * volume.cluster : (start + count) * volume.cluster])
        for start, count in attribute.runs
    )
    return int.from_bytes(b"".join(parts)[: (volume.clusters + 7) // 8], "little")


OF_A_FOLDER = {0xA0, BITMAP, LIST}
OF_THE_TABLE = (TABLE, DATA, "")
