"""Damage to `$MFT` and its mirror: where it lies, how long it is, which of its records are free."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import (
    Damage,
    clusters_of_something,
    flip_bits,
    hurt_attribute,
    hurt_record,
    hurt_runs,
)
from support.damage.ntfs_bytes import BITMAP, DATA, MIRROR, TABLE, NtfsBytes


def _runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, TABLE, DATA, rng) + mirrored(volume, rng)


def _attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, TABLE, DATA, rng) + mirrored(volume, rng)


def _record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, TABLE, rng) + mirrored(volume, rng)


def mirrored(volume: NtfsBytes, rng: random.Random) -> str:
    """The mirror mostly says the same: no driver tells such damage by it."""
    if rng.random() < 0.3:
        return ""
    start, length = volume.table_cluster * volume.cluster, 4 * volume.record
    mirror = volume.mirror_cluster * volume.cluster
    volume.data[mirror : mirror + length] = bytes(volume.data[start : start + length])
    return ", and so says the mirror"


def _bitmap_runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, TABLE, BITMAP, rng) + mirrored(volume, rng)


def _bitmap_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, TABLE, BITMAP, rng) + mirrored(volume, rng)


def _records_free(volume: NtfsBytes, rng: random.Random) -> str:
    """Records in use are called free: a new file would take one of them."""
    used = [number for number, _ in volume.in_use() if number >= 64]
    chosen = rng.choice((used, used[: len(used) // 2], used[-8:], [rng.choice(used)], used[:3]))
    _mark_records(volume, chosen, used=False)
    return f"{len(chosen)} records in use, from {chosen[0]} on, are called free"


def _records_unused(volume: NtfsBytes, rng: random.Random) -> str:
    """Records lose the flag that says that they are in use; the bitmap of the table may agree."""
    used = [number for number, _ in volume.in_use() if number >= 64]
    chosen = sorted(rng.sample(used, rng.choice((1, 3, 10))))
    for number in chosen:
        record = volume.read(number)
        record[0x16] &= 0xFE
        volume.write(number, record)
    both = rng.random() < 0.5
    if both:
        _mark_records(volume, chosen, used=False)
    return f"records {chosen[:4]} are not in use{', and so says the bitmap' if both else ''}"


def _records_used(volume: NtfsBytes, rng: random.Random) -> str:
    _mark_records(volume, list(range(volume.records)), used=True)
    return "every record is called used"


def _mark_records(volume: NtfsBytes, numbers: list[int], *, used: bool) -> None:
    place = tuple(volume.runs(TABLE, BITMAP))
    for number in numbers:
        at = volume.place_in(place, number // 8)
        byte = volume.data[at : at + 1][0]
        bit = 1 << number % 8
        volume.data[at : at + 1] = bytes([byte | bit if used else byte & ~bit])


def _mirror_content(volume: NtfsBytes, rng: random.Random) -> str:
    mirror = volume.mirror_cluster * volume.cluster
    if rng.random() < 0.5:
        return "mirror: " + flip_bits(volume, mirror, 4 * volume.record, rng)
    number = rng.randrange(4)
    at = mirror + number * volume.record
    other = volume.place(rng.randrange(4))
    volume.data[at : at + volume.record] = rng.choice(
        (
            bytes(volume.record),
            rng.randbytes(volume.record),
            bytes(volume.data[other : other + volume.record]),
        )
    )
    return f"the mirror of record {number} is another"


def _mirror_elsewhere(volume: NtfsBytes, rng: random.Random) -> str:
    """The boot sector, or the mirror's own record, points at something else."""
    what, target = clusters_of_something(volume, rng)
    if rng.random() < 0.5:
        volume.data[0x38:0x40] = struct.pack("<Q", target)
        said = "the boot sector"
        if rng.random() < 0.5:
            volume.set_runs(MIRROR, DATA, [(target, 1)])
            said += " and its record"
    else:
        volume.set_runs(MIRROR, DATA, [(target, 1)])
        said = "its record"
    return f"the mirror is at cluster {target} ({what}) by {said}"


def _mirror_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, MIRROR, DATA, rng) + mirrored(volume, rng)


def _first_records(volume: NtfsBytes, rng: random.Random) -> str:
    """A record and its mirror differ: one of both is torn, or older."""
    number = rng.randrange(4)
    return f"record {number}: " + flip_bits(volume, volume.place(number), volume.record, rng)


KINDS: dict[str, Damage] = {
    "runs": _runs,
    "attribute": _attribute,
    "record": _record,
    "bitmap's runs": _bitmap_runs,
    "bitmap's attribute": _bitmap_attribute,
    "records free": _records_free,
    "records unused": _records_unused,
    "records used": _records_used,
    "mirror's content": _mirror_content,
    "mirror elsewhere": _mirror_elsewhere,
    "mirror's attribute": _mirror_attribute,
    "first records": _first_records,
}
