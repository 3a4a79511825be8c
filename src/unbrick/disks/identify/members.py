"""Recognises a disk or partition that belongs to something larger, so that nothing ever writes to it.

A RAID mirror's members look like ordinary disks; writing one of them splits the mirror in silence. So a
signature is enough to refuse, even where its checksum is damaged. Positions and signatures are those of
libblkid's `superblocks/*_raid.c`, mdadm's `super-intel.c` and `super-ddf.c`, and Linux's `md_p.h` and
`block/partitions/ldm.h`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unbrick.disks.identify.partition_table import Table, TableKind
from unbrick.disks.raw_view import RawView
from unbrick.errors import Reason
from unbrick.model import VolumeKind

_MD_MAGICS = (b"\xfc\x4e\x2b\xa9", b"\xa9\x2b\x4e\xfc")
_SMALLEST_MEMBER = 64 * 1024
_LDM_DATABASE = 1024 * 1024
_PRIVATE_HEADER, _TABLE_OF_CONTENTS = b"PRIVHEAD", b"TOCBLOCK"
# GPT types of a dynamic disk's database and data, and the one that its MBR has.
DYNAMIC_TYPES = frozenset(
    {"5808C8AA-7E8F-42E0-85D2-E1E90434CFB3", "AF9B60A0-1431-4F62-BC68-3311714A69AD", "42"}
)
POOL_TYPE = "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D"
_POOL_SIGNATURE = b"SPACEDB "
# Distances from the end of the disk, in 512-byte sectors, at which Promise's firmware may keep its data.
_PROMISE_SECTORS = (63, 255, 256, 16, 399, 591, 675, 735, 911, 974, 991, 951, 3087)


@dataclass(frozen=True)
class Member:
    """What a disk or volume is part of: `text` completes "this is …", `offset` is the signature's place."""

    kind: VolumeKind
    reason: str
    text: str
    offset: int


@dataclass(frozen=True)
class _Mark:
    """Bytes at a place counted from the start, or (negative) from the end."""

    text: str
    place: int
    marks: tuple[bytes, ...]


_DDF_MARKS = (b"\xde\x11\xde\x11", b"\x11\xde\x11\xde")
_FIRMWARE_MARKS = (
    *(_Mark("an Intel RAID (IMSM)", -2 * n, (b"Intel Raid ISM Cfg Sig.",)) for n in (512, 1024, 2048, 4096)),
    *(_Mark("a RAID in DDF format", place, _DDF_MARKS) for place in (-512, -4096, -512 - 128 * 1024)),
    *(_Mark("a Promise RAID", -512 * n, (b"Promise Technology, Inc.",)) for n in _PROMISE_SECTORS),
    _Mark("an NVIDIA RAID", -1024, (b"NVIDIA",)),
    _Mark("an LSI MegaRAID", -512, (b"$XIDE$",)),
    _Mark("a Silicon Image RAID", -512 + 0x60, (b"\x00\x00\x00\x2f",)),
    _Mark("an Adaptec RAID", -512, (b"\x37\xfc\x4d\x1e",)),
    _Mark("a HighPoint RAID", -11 * 512, (b"\xf3\x16\x78\x5a", b"\xfd\x16\x78\x5a")),
    _Mark("a HighPoint RAID", 9 * 512 + 32, (b"\xf0\x16\x78\x5a", b"\xfd\x16\x78\x5a")),
)


def find_firmware_raid(view: RawView) -> Member | None:
    """A member of a RAID made by a controller or the firmware: only a whole disk can be one."""
    if view.size < _SMALLEST_MEMBER:
        return None
    for mark in _FIRMWARE_MARKS:
        offset = mark.place if mark.place >= 0 else view.size // 512 * 512 + mark.place
        raw = view.read(offset, 64)
        if raw.startswith(mark.marks):
            return Member(VolumeKind.RAID_MEMBER, Reason.RAID_MEMBER, f"a member of {mark.text}", offset)
    return None


def find_linux_raid(view: RawView) -> Member | None:
    """A member of a Linux software RAID (md), of a whole disk or of a partition."""
    for offset in _md_places(view.size):
        if view.read(offset, 4) in _MD_MAGICS:
            text = "a member of a Linux software RAID"
            return Member(VolumeKind.RAID_MEMBER, Reason.RAID_MEMBER, text, offset)
    return None


def _md_places(size: int) -> Iterator[int]:
    yield 0  # version 1.1
    yield 4096  # version 1.2
    if size >= _SMALLEST_MEMBER:
        yield (size - 8192) // 4096 * 4096  # version 1.0
    if size >= 2 * 65536:
        yield size // 65536 * 65536 - 65536  # version 0.90


def find_dynamic_disk(view: RawView, table: Table) -> Member | None:
    """A Windows dynamic disk (LDM): by its partition types, its private header or its database."""
    for partition in table.partitions:
        if partition.type in DYNAMIC_TYPES:
            return _dynamic(partition.offset)
    if table.kind is TableKind.GPT:
        return None
    database = view.size // 512 * 512 - _LDM_DATABASE
    places = (
        (6 * 512, _PRIVATE_HEADER),
        (view.size // 512 * 512 - 512, _PRIVATE_HEADER),
        (database + 1 * 512, _TABLE_OF_CONTENTS),
        (database + 2 * 512, _TABLE_OF_CONTENTS),
    )
    for offset, expected in places:
        if view.read(offset, 8) == expected:
            return _dynamic(offset)
    return None


def _dynamic(offset: int) -> Member:
    return Member(VolumeKind.LDM, Reason.DYNAMIC_DISK, "a Windows dynamic disk", offset)


def find_storage_pool(view: RawView, table: Table) -> Member | None:
    """A member of a Storage Spaces pool: by a partition's type, or a pool's header on the whole disk."""
    for partition in table.partitions:
        if partition.type == POOL_TYPE:
            return pool_member(partition.offset)
    return pool_member(0) if has_pool_header(view) else None


def has_pool_header(view: RawView) -> bool:
    return any(view.read(offset, 8) == _POOL_SIGNATURE for offset in (0, 4096))


def pool_member(offset: int) -> Member:
    text = "a member of a Storage Spaces pool"
    return Member(VolumeKind.STORAGE_SPACES, Reason.STORAGE_SPACES, text, offset)
