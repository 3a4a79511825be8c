"""The first sector of a volume: what it is, whether it is sound, whether it is whole."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.disk_bytes import MIB, fat32_boot_sector, ntfs_boot_sector, view_of

from unbrick.disks.identify.boot_sector import BootSector, has_ntfs_copy, judge_boot_sector


def judge(sector: bytes | bytearray, size: int = MIB) -> BootSector:
    return judge_boot_sector(view_of(sector.ljust(size, b"\0")[:size]))


@pytest.mark.parametrize("sector", [512, 1024, 2048, 4096])
def test_ntfs(sector: int) -> None:
    assert judge(ntfs_boot_sector(MIB, sector)) is BootSector.NTFS


def test_ntfs_with_clusters_larger_than_64_kib() -> None:
    raw = bytearray(ntfs_boot_sector(1 << 40))
    raw[13] = 0xF4  # two to the 12th sectors: 2 MiB
    assert judge(raw) is BootSector.CUT_NTFS


def test_ntfs_larger_than_its_partition_is_cut_off() -> None:
    assert judge(ntfs_boot_sector(MIB), MIB // 2) is BootSector.CUT_NTFS


@pytest.mark.parametrize(
    ("at", "raw"),
    [
        (11, b"\x00\x00"),
        (11, b"\x01\x02"),
        (13, b"\x00"),
        (13, b"\x03"),
        (0x28, bytes(8)),
        (0x30, bytes(8)),
        (0x38, b"\xff" * 8),
        (510, b"\x00"),
    ],
)
def test_ntfs_that_contradicts_itself_is_damaged(at: int, raw: bytes) -> None:
    sector = bytearray(ntfs_boot_sector(MIB))
    sector[at : at + len(raw)] = raw
    assert judge(sector) is BootSector.DAMAGED_NTFS


def test_fat_refs_and_nothing() -> None:
    assert judge(fat32_boot_sector()) is BootSector.FAT
    assert judge(b"\0\0\0ReFS\0\0\0\0" + bytes(5) + b"FSRS") is BootSector.REFS
    assert judge(b"\xeb\x76\x90EXFAT   " + bytes(499) + b"\x55\xaa") is BootSector.NONE
    assert judge(bytes(512)) is BootSector.NONE
    assert judge(b"", 100) is BootSector.NONE


def test_a_destroyed_start_is_told_by_the_copy_at_the_end() -> None:
    volume = bytearray(MIB)
    volume[-512:] = ntfs_boot_sector(MIB)
    assert has_ntfs_copy(view_of(volume))
    assert not has_ntfs_copy(view_of(bytes(MIB)))
    # A copy that belongs to a smaller, former volume is none of this one.
    struct.pack_into("<Q", volume, MIB - 512 + 0x28, 100)
    assert not has_ntfs_copy(view_of(volume))


@given(st.binary(min_size=512, max_size=512))
def test_any_sector_is_judged(sector: bytes) -> None:
    assert judge(sector) in BootSector
    assert judge(sector[:3] + b"NTFS    " + sector[11:]) in BootSector
