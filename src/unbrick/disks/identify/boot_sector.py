"""What the first sector of a volume says: NTFS, FAT, ReFS, or none of them (exFAT counts as none).

Pure. Layouts: [MS-NTFS] boot sector as ntfs-3g's `layout.h` documents it; Microsoft's FAT specification
(fatgen103); the ReFS signature as in libblkid's `refs.c`.
"""

from __future__ import annotations

import struct
from enum import StrEnum

from unbrick.disks.raw_view import RawView

_SECTOR_SIZES = frozenset({256, 512, 1024, 2048, 4096})
_POWERS = frozenset({1, 2, 4, 8, 16, 32, 64, 128})
_CLOSING_MARK = b"\x55\xaa"


class BootSector(StrEnum):
    """What a first sector says: DAMAGED_NTFS contradicts itself, CUT_NTFS is larger than its partition."""

    NTFS = "ntfs"
    DAMAGED_NTFS = "damaged-ntfs"
    CUT_NTFS = "cut-ntfs"
    FAT = "fat"
    REFS = "refs"
    NONE = "none"


def judge_boot_sector(view: RawView) -> BootSector:
    sector = view.read(0, 512)
    if len(sector) < 512:
        return BootSector.NONE
    if sector[3:11] == b"NTFS    ":
        size = _ntfs_size(sector)
        if size is None:
            return BootSector.DAMAGED_NTFS
        return BootSector.NTFS if size <= view.size else BootSector.CUT_NTFS
    if sector[3:11] == b"ReFS\0\0\0\0":
        return BootSector.REFS
    return BootSector.FAT if _is_fat(sector) else BootSector.NONE


def has_ntfs_copy(view: RawView) -> bool:
    """Whether the last sector is the copy of the boot sector of an NTFS that fills this volume.

    A volume whose first sector says nothing, and that has this copy, is an NTFS with a destroyed start.
    """
    for sector_size in (512, 4096):
        raw = view.read(view.size // sector_size * sector_size - sector_size, 512)
        size = _ntfs_size(raw) if raw[3:11] == b"NTFS    " else None
        if size is not None and 0 <= view.size - size <= 2 * sector_size:
            return True
    return False


def _ntfs_size(sector: bytes) -> int | None:
    """The size in bytes that an NTFS states; None where its boot sector contradicts itself."""
    (sector_size,) = struct.unpack_from("<H", sector, 11)
    per_cluster = sector[13]
    sectors, mft, mirror = struct.unpack_from("<3Q", sector, 0x28)
    if sector_size not in _SECTOR_SIZES or sector[510:512] != _CLOSING_MARK:
        return None
    # Above 0x80 the number is a negative power of two: clusters larger than 64 KiB.
    if per_cluster not in _POWERS and not 0xE1 <= per_cluster <= 0xFB:
        return None
    cluster = sector_size * (per_cluster if per_cluster in _POWERS else 1 << (256 - per_cluster))
    size = int(sectors * sector_size)
    return size if all(0 < place * cluster < size for place in (mft, mirror)) else None


def _is_fat(sector: bytes) -> bool:
    sector_size, per_cluster, reserved, tables = struct.unpack_from("<HBHB", sector, 11)
    if sector[510:512] != _CLOSING_MARK or sector[0] not in (0xEB, 0xE9):
        return False
    if sector_size not in _SECTOR_SIZES or per_cluster not in _POWERS or not reserved:
        return False
    named = sector[0x36:0x39] == b"FAT" or sector[0x52:0x57] == b"FAT32"
    return tables in (1, 2) and sector[21] >= 0xF0 and named
