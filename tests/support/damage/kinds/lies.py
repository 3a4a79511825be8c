"""A file table that lies about itself: how long it is, where its parts lie, which record goes on its own."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.table import mirrored
from support.damage.kinds.targets import Damage, any_file, clusters_of_something, free_cluster
from support.damage.ntfs_bytes import (
    BITMAP,
    DATA,
    FIRST_USER_RECORD,
    LIST,
    TABLE,
    NotHereError,
    NtfsBytes,
    Run,
    attributes,
    foreign,
    insert_attribute,
    list_entry,
    remove_attribute,
    resident,
)


def _cut_short(volume: NtfsBytes, rng: random.Random) -> str:
    """The table ends before its last files; they are not in it any more, but lie where it will grow."""
    used = [number for number, _ in volume.in_use() if number >= 64]
    last = rng.choice((used[-1], used[-4], rng.choice(used), used[len(used) // 2]))
    record = volume.read(TABLE)
    data = volume.find(record, DATA)
    size = last * volume.record
    if rng.random() < 0.7:
        struct.pack_into("<Q", record, data.at + 48, size)
    struct.pack_into("<Q", record, data.at + 56, size)
    volume.write(TABLE, record)
    if rng.random() < 0.5:
        _forget(volume, last)
    return f"the table ends before record {last} of {used[-1] + 1}" + mirrored(volume, rng)


def _forget(volume: NtfsBytes, first: int) -> None:
    """The table's bitmap calls all records free from one on."""
    place = tuple(volume.runs(TABLE, BITMAP))
    for number in range(first, volume.records):
        at = volume.place_in(place, number // 8)
        volume.data[at : at + 1] = bytes([volume.data[at : at + 1][0] & ~(1 << number % 8)])


def _overlapping(volume: NtfsBytes, rng: random.Random) -> str:
    """A part of the table is another part of it, or a part comes twice."""
    runs = volume.runs(TABLE, DATA)
    index = rng.randrange(len(runs))
    start, count = runs[index]
    if start is None or count < 4:
        raise NotHereError("a short table")
    at = rng.randrange(1, count)
    length = rng.randrange(1, min(16, count - at) + 1)
    source = start + rng.randrange(max(at - length, 0) + 1)
    if rng.random() < 0.5:
        parts: list[Run] = [(start, at), (source, length), (start + at + length, count - at - length)]
        runs[index : index + 1] = [part for part in parts if part[1]]
        volume.set_runs(TABLE, DATA, runs, sizes=False)
        said = f"clusters {at} to {at + length} of the table are those from {source} on"
    else:
        volume.set_runs(TABLE, DATA, [*runs, (source, length)])
        said = f"the table has its clusters from {source} on once more, behind its end"
        if rng.random() < 0.6:
            _lengthen(volume)
    return said + mirrored(volume, rng)


def _lengthen(volume: NtfsBytes) -> None:
    """All that is allocated to the table is said to be in use."""
    record = volume.read(TABLE)
    data = volume.find(record, DATA)
    (allocated,) = struct.unpack_from("<Q", record, data.at + 40)
    struct.pack_into("<QQ", record, data.at + 48, allocated, allocated)
    volume.write(TABLE, record)


def _hole(volume: NtfsBytes, rng: random.Random) -> str:
    runs = volume.runs(TABLE, DATA)
    start, count = runs[-1]
    if start is None or count < 2:
        raise NotHereError("a short table")
    at = rng.randrange(1, count)
    length = min(rng.choice((1, 1, 4, count)), count - at)
    behind = (start + at + length, count - at - length)
    runs[-1:] = [one for one in [(start, at), (None, length), behind] if one[1]]
    volume.set_runs(TABLE, DATA, runs, sizes=False)
    return f"clusters {at} to {at + length} of the table's last run are a hole" + mirrored(volume, rng)


def _larger_than_the_volume(volume: NtfsBytes, rng: random.Random) -> str:
    record = volume.read(TABLE)
    data = volume.find(record, DATA)
    size = rng.choice((1 << 30, 1 << 40, 1 << 62, (1 << 63) - 1024, len(volume.data) * 2))
    fields = rng.choice(((40, 48, 56), (48, 56), (48,), (56,), (40,)))
    for field in fields:
        struct.pack_into("<Q", record, data.at + field, size)
    volume.write(TABLE, record)
    if rng.random() < 0.4:
        runs = [*volume.runs(TABLE, DATA), *[(None, 0xFFFF)] * rng.choice((1, 3))]
        volume.set_runs(TABLE, DATA, runs, sizes=False)
    return f"the table's fields {fields} are {size:#x}" + mirrored(volume, rng)


def _foreign_extension(volume: NtfsBytes, rng: random.Random) -> str:
    """Record 0 has a list of attributes, and what goes on it is another file's record."""
    number = rng.choice((any_file(volume, rng), rng.choice([one for one, _ in volume.in_use()])))
    other = volume.read(number)
    (sequence,) = struct.unpack_from("<H", other, 16)
    said = f"the table goes on in record {number}, of another file"
    if rng.random() < 0.5:
        struct.pack_into("<Q", other, 32, 1 << 48)
        volume.write(number, other)
        said += ", which says so, too"
    first = sum(count for _, count in volume.runs(TABLE, DATA))
    list_attributes(volume, TABLE, [list_entry(DATA, number, sequence, first=first)])
    return said + mirrored(volume, rng)


def _in_parts(volume: NtfsBytes, rng: random.Random) -> str:
    """As on an old disk: the end of the table is in a record of its own. It may lead into a user's file."""
    runs = volume.runs(TABLE, DATA)
    start, count = runs[-1]
    if start is None or count < 4:
        raise NotHereError("a short table")
    kept = rng.randrange(count // 2, count)
    # What goes on the table has to lie in the part that record 0 itself describes.
    reach = (sum(one for _, one in runs[:-1]) + kept) * volume.cluster // volume.record
    free = [
        one
        for one in range(FIRST_USER_RECORD, reach)
        if not struct.unpack_from("<H", _raw(volume, one), 0x16)[0] & 1
    ]
    if not free:
        raise NotHereError("no free record")
    number = rng.choice(free)
    rest: list[Run] = [(start + kept, count - kept)]
    said = f"the last {count - kept} clusters of the table are listed in record {number}"
    if rng.random() < 0.5:
        what, target = clusters_of_something(volume, rng)
        rest = [(min(target, volume.clusters - count), count - kept)]
        said += f", and lie at {target} ({what})"
    split_table(volume, [*runs[:-1], (start, kept)], rest, number)
    return said + mirrored(volume, rng)


def split_table(volume: NtfsBytes, first: list[Run], rest: list[Run], number: int) -> None:
    """Have `rest` of the table's clusters listed in a free record."""
    before = sum(count for _, count in first)
    extension = _empty_extension(volume, number)
    instance = insert_attribute(extension, foreign(DATA, rest, 0, volume.cluster, before))
    volume.set_runs(TABLE, DATA, first, sizes=False)
    record = volume.read(TABLE)
    struct.pack_into("<Q", record, volume.find(record, DATA).at + 24, before - 1)
    volume.write(TABLE, record)
    (sequence,) = struct.unpack_from("<H", extension, 16)
    list_attributes(volume, TABLE, [list_entry(DATA, number, sequence, first=before, number=instance)])
    volume.write(number, extension)
    at = volume.place_in(tuple(volume.runs(TABLE, BITMAP)), number // 8)
    volume.data[at : at + 1] = bytes([volume.data[at : at + 1][0] | 1 << number % 8])


def _raw(volume: NtfsBytes, number: int) -> bytes:
    at = volume.place(number)
    return bytes(volume.data[at : at + volume.record])


def _empty_extension(volume: NtfsBytes, number: int) -> bytearray:
    """A record without an attribute that goes on the file table's."""
    record = volume.read(TABLE)
    for attribute in reversed(list(attributes(record))):
        remove_attribute(record, attribute)
    struct.pack_into("<QHHHH", record, 8, 0, 1, 0, struct.unpack_from("<H", record, 20)[0], 1)
    struct.pack_into("<QHxxI", record, 32, 1 << 48, 0, number)
    return record


def list_attributes(volume: NtfsBytes, number: int, more: list[bytes]) -> None:
    """Give a file a list of attributes that names its own, and more; where it has one, more are added."""
    record = volume.read(number)
    (sequence,) = struct.unpack_from("<H", record, 16)
    own = []
    for attribute in attributes(record):
        if attribute.kind == LIST:
            raise NotHereError("it has a list")
        raw = record[attribute.at : attribute.at + attribute.length]
        (instance,) = struct.unpack_from("<H", raw, 14)
        entry = bytearray(list_entry(attribute.kind, number, sequence, number=instance))
        if attribute.name:
            text = attribute.name.encode("utf-16-le")
            entry[26:] = text.ljust((len(text) + 26 + 7 & ~7) - 26, b"\0")
            struct.pack_into("<HB", entry, 4, len(entry), len(attribute.name))
        own.append(bytes(entry))
    entries = sorted([*own, *more], key=lambda entry: struct.unpack_from("<I", entry)[0])
    whole = b"".join(entries)
    try:
        insert_attribute(record, resident(LIST, whole))
    except NotHereError:
        cluster = free_cluster(volume, random.Random(number))
        at = cluster * volume.cluster
        volume.data[at : at + len(whole)] = whole
        _mark_used(volume, cluster)
        insert_attribute(record, foreign(LIST, [(cluster, 1)], len(whole), volume.cluster))
    volume.write(number, record)


def _mark_used(volume: NtfsBytes, cluster: int) -> None:
    at = volume.place_in(tuple(volume.runs(6, DATA)), cluster // 8)
    volume.data[at : at + 1] = bytes([volume.data[at : at + 1][0] | 1 << cluster % 8])


KINDS: dict[str, Damage] = {
    "cut short": _cut_short,
    "overlapping": _overlapping,
    "hole": _hole,
    "larger than the volume": _larger_than_the_volume,
    "foreign extension": _foreign_extension,
    "in parts": _in_parts,
}
