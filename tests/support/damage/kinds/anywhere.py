"""Damage that knows no field: bits that flip in records, torn blocks, clusters written twice."""

from __future__ import annotations

import random

from support.damage.kinds.targets import Damage, clusters_of_something, flip_bits
from support.damage.ntfs_bytes import SECTOR, NotHereError, NtfsBytes


def _bits_in_records(volume: NtfsBytes, rng: random.Random) -> str:
    numbers = [number for number, _ in volume.in_use()]
    chosen = rng.sample(numbers, rng.choice((1, 1, 4, 20)))
    for number in chosen:
        flip_bits(volume, volume.place(number), volume.record, rng)
    return f"bits of records {chosen[:4]} flipped"


def _bits_in_system_records(volume: NtfsBytes, rng: random.Random) -> str:
    number = rng.randrange(12)
    return f"record {number}: " + flip_bits(volume, volume.place(number), 0x200, rng)


def _torn(volume: NtfsBytes, rng: random.Random) -> str:
    """A sector of a record is older, or newer, than the other: the update sequence says so."""
    number, _ = rng.choice(list(volume.in_use()))
    at = volume.place(number) + rng.choice((1, 2)) * SECTOR - 2
    volume.data[at : at + 2] = rng.randbytes(2)
    return f"record {number} is torn"


def _doubled_cluster(volume: NtfsBytes, rng: random.Random) -> str:
    """A write went to the wrong place: a cluster lies over another."""
    what, source = clusters_of_something(volume, rng)
    where, target = clusters_of_something(volume, rng)
    if max(source, target) >= volume.clusters:
        raise NotHereError("beyond the volume")
    data = bytes(volume.data[source * volume.cluster : (source + 1) * volume.cluster])
    volume.data[target * volume.cluster : (target + 1) * volume.cluster] = data
    return f"cluster {source} ({what}) lies over cluster {target} ({where})"


def _lost_sectors(volume: NtfsBytes, rng: random.Random) -> str:
    """Sectors of the file table that never were written, or that a disk lost."""
    numbers = [number for number, _ in volume.in_use()]
    at = volume.place(rng.choice(numbers)) // SECTOR * SECTOR + rng.choice((0, SECTOR))
    count = rng.choice((1, 1, 2, 8))
    volume.data[at : at + count * SECTOR] = rng.choice((bytes(count * SECTOR), rng.randbytes(count * SECTOR)))
    return f"{count} sectors of the file table at {at:#x} are lost"


KINDS: dict[str, Damage] = {
    "bits in records": _bits_in_records,
    "bits in system records": _bits_in_system_records,
    "torn": _torn,
    "doubled cluster": _doubled_cluster,
    "lost sectors": _lost_sectors,
}
