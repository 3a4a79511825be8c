"""Where damage points at: the clusters of something that must not be lost, or of nothing."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from support.damage.ntfs_bytes import (
    ATTRIBUTE_DEFINITIONS,
    BITMAP,
    BOOT,
    CLUSTER_BITMAP,
    DATA,
    FOLDER,
    INDEX_ALLOCATION,
    LOG,
    MIRROR,
    ROOT,
    SECURE,
    TABLE,
    UPPER_CASE,
    NotHereError,
    NtfsBytes,
    Run,
    attributes,
)
from support.damage.paths import FAULTY, USERS

Damage = Callable[[NtfsBytes, random.Random], str]

CROWDSTRIKE = FAULTY.rpartition("\\")[0]
_SYSTEM = {
    "$MFT": (TABLE, DATA),
    "$MFT's bitmap": (TABLE, BITMAP),
    "$MFTMirr": (MIRROR, DATA),
    "$LogFile": (LOG, DATA),
    "$AttrDef": (ATTRIBUTE_DEFINITIONS, DATA),
    "the root's index": (ROOT, INDEX_ALLOCATION),
    "$Bitmap": (CLUSTER_BITMAP, DATA),
    "$Boot": (BOOT, DATA),
    "$SDS": (SECURE, DATA),
    "$UpCase": (UPPER_CASE, DATA),
}
_FILES = (
    "\\Windows\\System32\\ntoskrnl.exe",
    "\\Windows\\System32\\config\\SYSTEM",
    f"{USERS}\\film 0.mp4",
    f"{USERS}\\ledger 1.xlsx",
    f"{USERS}\\mailbox 1.pst",
    FAULTY,
)
FOLDERS = ("\\Windows", "\\Windows\\System32\\drivers", CROWDSTRIKE, "\\Unbrick", USERS)


def clusters_of_something(volume: NtfsBytes, rng: random.Random) -> tuple[str, int]:
    """A cluster that damage can point at, and what it is of."""
    chosen = rng.choice(("system", "file", "file", "any file", "any file", "free", "far"))
    if chosen == "far":
        return "the volume's end and beyond", volume.clusters - rng.randrange(-3, 4)
    if chosen == "free":
        return "free room", free_cluster(volume, rng)
    if chosen == "system":
        name = rng.choice(list(_SYSTEM))
        runs = volume.runs(*_SYSTEM[name])
    elif chosen == "file":
        name = rng.choice(_FILES)
        runs = volume.runs(volume.find_record(name), DATA)
    else:
        number = any_file(volume, rng)
        name, runs = f"file {number}", volume.runs(number, DATA)
    return name, _inside(runs, rng)


def _inside(runs: list[Run], rng: random.Random) -> int:
    start, count = rng.choice(runs)
    if start is None or not count:
        raise NotHereError("a hole")
    return start + rng.choice((0, 0, rng.randrange(count)))


def any_file(volume: NtfsBytes, rng: random.Random) -> int:
    """The record of some file with clusters of its own."""
    return rng.choice(files_with_clusters(volume))


def files_with_clusters(volume: NtfsBytes) -> list[int]:
    """The records of all files, none of them the volume's own, that have clusters."""
    return [
        number
        for number, record in volume.in_use()
        if number >= 64
        and not struct.unpack_from("<H", record, 0x16)[0] & FOLDER
        and any(a.kind == DATA and not a.resident and a.runs for a in attributes(record))
    ]


def free_cluster(volume: NtfsBytes, rng: random.Random) -> int:
    """A cluster that the bitmap calls free."""
    marks = volume.content(CLUSTER_BITMAP, DATA)
    for _ in range(10_000):
        cluster = rng.randrange(volume.clusters)
        if not marks[cluster // 8] >> cluster % 8 & 1:
            return cluster
    raise NotHereError("no free cluster")


def moved_runs(volume: NtfsBytes, rng: random.Random, runs: list[Run]) -> tuple[str, list[Run]]:
    """A list of clusters that is wrong: a run is elsewhere, longer, cut, doubled, a hole, or one too many."""
    runs = list(runs)
    index = rng.randrange(len(runs))
    start, count = runs[index]
    what, target = clusters_of_something(volume, rng)
    how = rng.choice(("moved", "moved", "moved", "split", "added", "longer", "shorter", "hole", "shifted"))
    count_there = min(count, max(volume.clusters - target, 1))
    if how == "moved":
        runs[index] = (target, count_there)
    elif how == "split" and count > 1 and start is not None:
        part = rng.randrange(1, count)
        runs[index : index + 1] = [(start, part), (target, min(count - part, count_there))]
    elif how == "added":
        runs.append((target, rng.randrange(1, 9)))
    elif how == "longer":
        runs[index] = (start, count + rng.choice((1, 2, 16, 300)))
    elif how == "shorter" and count > 1:
        runs[index] = (start, rng.randrange(1, count))
    elif how == "hole":
        runs[index] = (None, count)
    else:
        how = "shifted"
        runs[index] = (max((start or 0) + rng.choice((-1, 1, 8, -8)), 0), count)
    return f"run {index} of {len(runs)} {how} ({what})", runs


def random_field(
    record: bytearray, rng: random.Random, fields: dict[str, tuple[int, int]], at: int = 0
) -> str:
    """Change one field (offset and size, from `at`): a bit, a little more or less, or all of it."""
    name = rng.choice(list(fields))
    offset, size = fields[name]
    place = at + offset
    if place + size > len(record):
        raise NotHereError("beyond the record")
    value = int.from_bytes(record[place : place + size], "little")
    most = (1 << 8 * size) - 1
    changed = rng.choice(
        (
            value ^ 1 << rng.randrange(8 * size),
            value ^ 1 << rng.randrange(8 * size),
            value + rng.choice((-4096, -8, -1, 1, 8, 512, 4096)) & most,
            rng.randrange(most + 1),
            0,
            most,
        )
    )
    record[place : place + size] = changed.to_bytes(size, "little")
    return f"{name} {value:#x} -> {changed:#x}"


ATTRIBUTE_FIELDS = {
    "kind": (0, 4),
    "length": (4, 4),
    "resident": (8, 1),
    "name's length": (9, 1),
    "name's place": (10, 2),
    "flags": (12, 2),
    "number": (14, 2),
    "lowest VCN": (16, 8),
    "highest VCN": (24, 8),
    "list's place": (32, 2),
    "compression unit": (34, 2),
    "allocated size": (40, 8),
    "size": (48, 8),
    "initialized size": (56, 8),
}
RESIDENT_FIELDS = {
    "kind": (0, 4),
    "length": (4, 4),
    "resident": (8, 1),
    "name's length": (9, 1),
    "flags": (12, 2),
    "value's size": (16, 4),
    "value's place": (20, 2),
    "indexed": (22, 1),
}
RECORD_FIELDS = {
    "magic": (0, 4),
    "update sequence's place": (4, 2),
    "update sequence's count": (6, 2),
    "log number": (8, 8),
    "sequence": (16, 2),
    "links": (18, 2),
    "first attribute": (20, 2),
    "flags": (22, 2),
    "used": (24, 4),
    "allocated": (28, 4),
    "base": (32, 8),
    "next attribute": (40, 2),
    "own number": (44, 4),
}


def hurt_record(volume: NtfsBytes, number: int, rng: random.Random) -> str:
    """Change a field of a record's head."""
    record = volume.read(number)
    said = random_field(record, rng, RECORD_FIELDS)
    try:
        volume.write(number, record)
    except (IndexError, ValueError) as error:
        raise NotHereError("cannot be written") from error
    return f"record {number}: {said}"


def hurt_attribute(
    volume: NtfsBytes, number: int, kind: int, rng: random.Random, name: str | None = None
) -> str:
    """Change a field of an attribute's head."""
    record = volume.read(number)
    attribute = volume.find(record, kind, name)
    fields = RESIDENT_FIELDS if attribute.resident else ATTRIBUTE_FIELDS
    said = random_field(record, rng, fields, attribute.at)
    volume.write(number, record)
    return f"record {number}, attribute {kind:#x}: {said}"


def hurt_runs(volume: NtfsBytes, number: int, kind: int, rng: random.Random, name: str | None = None) -> str:
    """Change an attribute's list of clusters; its sizes mostly say the same."""
    said, runs = moved_runs(volume, rng, volume.runs(number, kind, name))
    volume.set_runs(number, kind, runs, name=name, sizes=rng.random() < 0.7)
    return f"record {number}, attribute {kind:#x}: {said}"


def flip_bits(volume: NtfsBytes, start: int, length: int, rng: random.Random, most: int = 4) -> str:
    """Flip a few bits somewhere in a stretch of the volume."""
    places = []
    for _ in range(rng.randrange(1, most + 1)):
        at = start + rng.randrange(length)
        if at >= len(volume.data):
            raise NotHereError("beyond the volume")
        volume.data[at : at + 1] = bytes([volume.data[at : at + 1][0] ^ 1 << rng.randrange(8)])
        places.append(f"{at:#x}")
    return f"bits flipped at {', '.join(places)}"
