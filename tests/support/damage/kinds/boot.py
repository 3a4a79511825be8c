"""Damage to the boot sector, field by field."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import Damage, clusters_of_something, random_field
from support.damage.ntfs_bytes import NotHereError, NtfsBytes

_FIELDS = {
    "jump": (0, 3),
    "name": (3, 8),
    "sector": (0x0B, 2),
    "sectors a cluster": (0x0D, 1),
    "reserved": (0x0E, 2),
    "media": (0x15, 1),
    "hidden sectors": (0x1C, 4),
    "sectors": (0x28, 8),
    "table": (0x30, 8),
    "mirror": (0x38, 8),
    "record's size": (0x40, 1),
    "index block's size": (0x44, 1),
    "serial number": (0x48, 8),
    "signature": (0x1FE, 2),
}


def _field(volume: NtfsBytes, rng: random.Random) -> str:
    boot = bytearray(volume.data[0:512])
    said = random_field(boot, rng, _FIELDS)
    volume.data[0:512] = bytes(boot)
    return f"boot sector: {said}"


def _half_the_length(volume: NtfsBytes, rng: random.Random) -> str:
    (sectors,) = struct.unpack("<Q", bytes(volume.data[0x28:0x30]))
    changed = int(sectors * rng.choice((0.3, 0.5, 0.9, 0.999)))
    volume.data[0x28:0x30] = struct.pack("<Q", changed)
    return f"the volume is said to be {changed} sectors long, not {sectors}"


def _other_clusters(volume: NtfsBytes, rng: random.Random) -> str:
    """Another size of a cluster, with a table that is found by it all the same."""
    now = bytes(volume.data[0x0D:0x0E])[0]
    factor = rng.choice((2, 4))
    table, mirror = struct.unpack("<QQ", bytes(volume.data[0x30:0x40]))
    larger = rng.random() < 0.5
    if (now if larger else max(table, mirror) >> 56) * factor > 0xFF:
        raise NotHereError("no field for so much")
    if larger:
        volume.data[0x0D:0x0E] = bytes([now * factor])
        volume.data[0x30:0x40] = struct.pack("<QQ", table // factor, mirror // factor)
    else:
        volume.data[0x0D:0x0E] = bytes([max(now // factor, 1)])
        volume.data[0x30:0x40] = struct.pack("<QQ", table * factor, mirror * factor)
    return f"clusters are said to be {factor} times {'larger' if larger else 'smaller'}"


def _table_elsewhere(volume: NtfsBytes, rng: random.Random) -> str:
    what, target = clusters_of_something(volume, rng)
    if rng.random() < 0.4:
        what, target = "the mirror", volume.mirror_cluster
    volume.data[0x30:0x38] = struct.pack("<Q", target)
    return f"the table is said to begin at cluster {target} ({what})"


KINDS: dict[str, Damage] = {
    "field": _field,
    "length": _half_the_length,
    "cluster": _other_clusters,
    "table elsewhere": _table_elsewhere,
}
