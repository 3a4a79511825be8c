"""What lies at a volume's borders: the copy of its boot sector, and the sectors that are no cluster's."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import Damage
from support.damage.ntfs_bytes import NotHereError, NtfsBytes


def _end(volume: NtfsBytes) -> int:
    """Where the copy of the boot sector begins."""
    sector, sectors = struct.unpack_from("<H", bytes(volume.data[11:13]))[0], bytes(volume.data[0x28:0x30])
    return int(struct.unpack("<Q", sectors)[0]) * int(sector)


def _backup(volume: NtfsBytes, rng: random.Random) -> str:
    """The copy of the boot sector is another volume's, an older one, or gone."""
    at = _end(volume)
    if at + 512 > len(volume.data):
        raise NotHereError("no copy")
    boot = bytearray(volume.data[0:512])
    how = rng.choice(("zeros", "noise", "half as long", "of other clusters", "with its table elsewhere"))
    if how == "zeros":
        boot = bytearray(512)
    elif how == "noise":
        boot = bytearray(rng.randbytes(512))
    elif how == "half as long":
        struct.pack_into("<Q", boot, 0x28, at // 1024)
    elif how == "of other clusters":
        boot[0x0D] = max(boot[0x0D] // 2, 1) if rng.random() < 0.5 else boot[0x0D] * 2
    else:
        struct.pack_into("<QQ", boot, 0x30, *rng.sample(range(volume.clusters), 2))
    volume.data[at : at + 512] = bytes(boot)
    return f"the copy of the boot sector is {how}"


def _only_backup(volume: NtfsBytes, rng: random.Random) -> str:
    """The boot sector itself is gone; only its copy is there."""
    volume.data[0:512] = rng.choice((bytes(512), rng.randbytes(512)))
    return "the boot sector is gone, its copy is not"


def _behind(volume: NtfsBytes, rng: random.Random) -> str:
    """The sectors behind the last cluster hold what looks like file records."""
    start, end = volume.clusters * volume.cluster, _end(volume)
    if start >= end:
        raise NotHereError("there are none")
    place = volume.place(rng.randrange(30))
    record = bytes(volume.data[place : place + min(end - start, volume.record)])
    volume.data[start : start + len(record)] = record
    return f"{len(record)} bytes behind the last cluster are a file record's"


KINDS: dict[str, Damage] = {"backup": _backup, "only backup": _only_backup, "behind": _behind}
