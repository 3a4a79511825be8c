"""Damage that looks sound: what a file of the volume's own holds lies, word for word, in a user's file.

Its list of clusters leads to that copy, so nothing that is read there is wrong; yet who writes there writes
into the user's file.
"""

from __future__ import annotations

import random
import struct

from support.damage.kinds.table import mirrored
from support.damage.kinds.targets import CROWDSTRIKE, Damage, any_file
from support.damage.ntfs_bytes import (
    BITMAP,
    CLUSTER_BITMAP,
    DATA,
    INDEX_ALLOCATION,
    LIST,
    LOG,
    MIRROR,
    ROOT,
    SECTOR,
    SECURE,
    STANDARD,
    TABLE,
    NotHereError,
    NtfsBytes,
    Run,
    foreign,
    insert_attribute,
    protected,
    unprotected,
)
from support.damage.paths import FAULTY, USERS


def _copied(
    volume: NtfsBytes,
    rng: random.Random,
    number: int,
    kind: int,
    name: str | None = None,
    at: int | None = None,
) -> str:
    """One cluster of an attribute (the one that holds its byte `at`), or a run, lies in a user's file."""
    runs = volume.runs(number, kind, name)
    index, first = (rng.randrange(len(runs)), 0) if at is None else _find_run(runs, at // volume.cluster)
    start, count = runs[index]
    if start is None:
        raise NotHereError("a hole")
    size = 1 if at is not None else min(count, 16)
    target = _room_in_a_file(volume, rng, size)
    source = start + first
    data = bytes(volume.data[source * volume.cluster : (source + size) * volume.cluster])
    volume.data[target * volume.cluster : (target + size) * volume.cluster] = data
    parts = [(start, first), (target, size), (source + size, count - first - size)]
    runs[index : index + 1] = [part for part in parts if part[1]]
    volume.set_runs(number, kind, runs, name=name, sizes=False)
    return f"{size} clusters of record {number}, attribute {kind:#x}, lie at {target}, in a file"


def _find_run(runs: list[Run], cluster: int) -> tuple[int, int]:
    """The run that holds a cluster of the attribute, and where in it that lies."""
    for index, (_, count) in enumerate(runs):
        if cluster < count:
            return index, cluster
        cluster -= count
    raise NotHereError("beyond the attribute")


def _room_in_a_file(volume: NtfsBytes, rng: random.Random, size: int) -> int:
    for _ in range(100):
        number = rng.choice((any_file(volume, rng), volume.find_record(f"{USERS}\\film 1.mp4")))
        for start, count in volume.runs(number, DATA):
            if start is not None and count >= size:
                return start
    raise NotHereError("no file is long enough")


def _index(volume: NtfsBytes, rng: random.Random) -> str:
    path = rng.choice(("", CROWDSTRIKE, CROWDSTRIKE, "\\Windows\\System32\\drivers", "\\Unbrick"))
    number = volume.find_record(path) if path else ROOT
    return _copied(volume, rng, number, INDEX_ALLOCATION)


def _rights(volume: NtfsBytes, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return _copied(volume, rng, SECURE, DATA, "$SDS", rng.choice((0, 0x40000)))
    return _copied(volume, rng, SECURE, INDEX_ALLOCATION, rng.choice(("$SII", "$SDH")))


def _table(volume: NtfsBytes, rng: random.Random) -> str:
    """A cluster of the file table with a record that a repair changes, or one that it would take."""
    numbers = [ROOT, volume.find_record(FAULTY), volume.find_record(CROWDSTRIKE)]
    number = rng.choice([*numbers, volume.records - rng.randrange(1, 80)])
    return _copied(volume, rng, TABLE, DATA, "", number * volume.record)


def _marks(volume: NtfsBytes, rng: random.Random) -> str:
    number, kind = rng.choice(((TABLE, BITMAP), (CLUSTER_BITMAP, DATA)))
    return _copied(volume, rng, number, kind)


def _log(volume: NtfsBytes, rng: random.Random) -> str:
    at = rng.choice((0, None, 4096, 0x40000))
    return _copied(volume, rng, LOG, DATA, "", at) + mirrored(volume, rng)


def _redo(volume: NtfsBytes, rng: random.Random) -> str:
    """The pages of the log in which a change that was cut off lies ready, or lay."""
    runs = tuple(volume.runs(LOG, DATA))
    size = sum(count for _, count in runs) * volume.cluster
    found = [at for at in range(0, size, SECTOR) if _sector(volume, runs, at).startswith(b"UNBRICK REDO")]
    if not found:
        raise NotHereError("no record in the log")
    at = rng.choice(found) + rng.choice((0, 0, SECTOR, volume.cluster))
    return _copied(volume, rng, LOG, DATA, "", at) + mirrored(volume, rng)


def _sector(volume: NtfsBytes, runs: tuple[Run, ...], at: int) -> bytes:
    place = volume.place_in(runs, at)
    return bytes(volume.data[place : place + SECTOR])


def _mirror(volume: NtfsBytes, rng: random.Random) -> str:
    """The mirror of the table's first records, which may be older than they are; the boot sector agrees."""
    count = sum(count for _, count in volume.runs(MIRROR, DATA))
    target = _room_in_a_file(volume, rng, count)
    source = volume.mirror_cluster * volume.cluster
    said = f"the mirror lies at {target}, in a file"
    volume.set_runs(MIRROR, DATA, [(target, count)], sizes=False)
    data = bytearray(volume.data[source : source + count * volume.cluster])
    at = volume.place(MIRROR)
    data[volume.record : 2 * volume.record] = volume.data[at : at + volume.record]
    if rng.random() < 0.5:
        number = rng.choice((0, 1, 2, 3))
        said += f", record {number} is older there"
        older = unprotected(bytes(data[number * volume.record : (number + 1) * volume.record]))
        if older is None:
            raise NotHereError("no mirror")
        standard = volume.find(older, STANDARD)
        struct.pack_into("<Q", older, standard.value_at + 8, rng.randrange(1 << 56))
        data[number * volume.record : (number + 1) * volume.record] = protected(older)
    volume.data[target * volume.cluster : target * volume.cluster + len(data)] = bytes(data)
    volume.data[0x38:0x40] = struct.pack("<Q", target)
    return said


def _list(volume: NtfsBytes, rng: random.Random) -> str:
    return _copied(volume, rng, volume.find_record(FAULTY), LIST)


def _shared(volume: NtfsBytes, rng: random.Random) -> str:
    """The other way about: a file's list of clusters leads to what a repair writes."""
    number = any_file(volume, rng)
    other, kind, name = rng.choice(
        (
            (volume.find_record(CROWDSTRIKE), INDEX_ALLOCATION, "$I30"),
            (ROOT, INDEX_ALLOCATION, "$I30"),
            (TABLE, DATA, ""),
            (TABLE, BITMAP, ""),
            (CLUSTER_BITMAP, DATA, ""),
            (SECURE, DATA, "$SDS"),
            (LOG, DATA, ""),
            (volume.find_record(FAULTY), DATA, ""),
        )
    )
    start, count = rng.choice(volume.runs(other, kind, name))
    runs = volume.runs(number, DATA)
    index = rng.randrange(len(runs))
    runs[index] = (start, min(count, runs[index][1]))
    volume.set_runs(number, DATA, runs)
    return f"run {index} of file {number} is that of record {other}, attribute {kind:#x}"


def _own_stream(volume: NtfsBytes, rng: random.Random) -> str:
    """Another stream of the same file leads to what a repair writes there."""
    number, kind, name = rng.choice(
        ((TABLE, DATA, ""), (SECURE, DATA, "$SDS"), (CLUSTER_BITMAP, DATA, ""), (LOG, DATA, ""))
    )
    runs = volume.runs(number, kind, name)
    start, count = rng.choice(runs)
    first = 0 if start is None else start + rng.randrange(count)
    stream = bytearray(foreign(DATA, [(first, 1)], volume.cluster, volume.cluster))
    text = "kept".encode("utf-16-le")
    struct.pack_into("<BH", stream, 9, 4, 64)
    struct.pack_into("<H", stream, 32, 72)
    record = volume.read(number)
    insert_attribute(record, bytes(stream[:64]) + text + bytes(stream[64:]))
    volume.write(number, record)
    if number < 4:
        at, mirror = volume.place(number), volume.mirror_cluster * volume.cluster + number * volume.record
        volume.data[mirror : mirror + volume.record] = bytes(volume.data[at : at + volume.record])
    return f"a second stream of record {number} lies at its cluster {first}"


KINDS: dict[str, Damage] = {
    "index": _index,
    "rights": _rights,
    "table": _table,
    "marks": _marks,
    "log": _log,
    "list": _list,
    "redo": _redo,
    "mirror": _mirror,
    "own stream": _own_stream,
    "shared": _shared,
}
