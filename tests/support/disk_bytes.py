"""Disks made byte by byte, by the letter of their formats' public descriptions; no tool, no mount."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Sequence
from uuid import UUID

from unbrick.disks.raw_view import RawView

DISK_GUID = "0DB1D9A7-6A2C-4A67-9C0B-3C9D7F1E5A11"
BASIC_DATA = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"
MIB = 1024 * 1024
WINDOWS_AT, WINDOWS_LENGTH = 2 * MIB, 4 * MIB


def view_of(raw: bytes | bytearray, name: str = "disk.img") -> RawView:
    """A view of bytes in memory."""
    return RawView(io.BytesIO(raw), len(raw), name)


def gpt_disk(
    size: int, partitions: Sequence[tuple[int, int, str]], sector: int = 512, *, protective: bool = True
) -> bytearray:
    """A GPT disk (UEFI 2.10, chapter 5); partitions are (first byte, bytes, type GUID), numbered from 1."""
    disk = bytearray(size)
    last = size // sector - 1
    entries = bytearray(128 * 128)
    for index, (offset, length, kind) in enumerate(partitions):
        unique = UUID(int=index + 1).bytes_le
        first = offset // sector
        entry = UUID(kind).bytes_le + unique + struct.pack("<QQQ", first, first + length // sector - 1, 0)
        entries[128 * index : 128 * index + len(entry)] = entry
    table_sectors = -(-len(entries) // sector)
    usable = (2 + table_sectors, last - 1 - table_sectors)
    for own, other, at in ((1, last, 2), (last, 1, last - table_sectors)):
        disk[at * sector : at * sector + len(entries)] = entries
        disk[own * sector : own * sector + 92] = gpt_header(own, other, usable, at, bytes(entries))
    if protective:
        disk[446:462] = struct.pack("<B3sB3sII", 0, b"\0\2\0", 0xEE, b"\xff" * 3, 1, min(last, 0xFFFFFFFF))
        disk[510:512] = b"\x55\xaa"
    return disk


def gpt_header(own: int, other: int, usable: tuple[int, int], at: int, entries: bytes) -> bytes:
    """One header with right checksums; all positions in sectors."""
    fixed = struct.pack(
        "<8sIIIIQQQQ16sQIII",
        *(b"EFI PART", 0x10000, 92, 0, 0, own, other, *usable),
        *(UUID(DISK_GUID).bytes_le, at, 128, 128, zlib.crc32(entries)),
    )
    return fixed[:16] + struct.pack("<I", zlib.crc32(fixed)) + fixed[20:]


def mbr_disk(size: int, entries: Sequence[tuple[int, int, int]], signature: int = 0x1A2B3C4D) -> bytearray:
    """An MBR disk; entries are (type, first sector, sectors)."""
    disk = bytearray(size)
    put_mbr(disk, 0, entries)
    struct.pack_into("<I", disk, 440, signature)
    return disk


def put_mbr(disk: bytearray, at: int, entries: Sequence[tuple[int, int, int]]) -> None:
    """Write a boot record (of the disk or of an extended partition) at a byte offset."""
    for index, (kind, start, count) in enumerate(entries):
        struct.pack_into("<B3sB3sII", disk, at + 446 + 16 * index, 0, b"", kind, b"", start, count)
    disk[at + 510 : at + 512] = b"\x55\xaa"


def ntfs_boot_sector(length: int, sector: int = 512) -> bytes:
    """The first sector of an NTFS volume that fills `length` bytes but for its last sector."""
    raw = bytearray(512)
    raw[:11] = b"\xeb\x52\x90NTFS    "
    struct.pack_into("<HB", raw, 11, sector, 8)
    struct.pack_into("<3Q", raw, 0x28, length // sector - 1, 4, 16)
    raw[510:] = b"\x55\xaa"
    return bytes(raw)


def fat32_boot_sector() -> bytes:
    """The first sector of a FAT32 volume (fatgen103)."""
    raw = bytearray(512)
    raw[:11] = b"\xeb\x58\x90MSDOS5.0"
    struct.pack_into("<HBHB", raw, 11, 512, 8, 32, 2)
    raw[21] = 0xF8
    raw[0x52:0x5A] = b"FAT32   "
    raw[510:] = b"\x55\xaa"
    return bytes(raw)


def windows_disk(size: int = 8 * MIB) -> bytearray:
    """A healthy GPT disk: an ESP and, at WINDOWS_AT, a Windows partition, each with its boot sector."""
    esp = (MIB, MIB, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
    windows = (WINDOWS_AT, WINDOWS_LENGTH, BASIC_DATA)
    disk = gpt_disk(size, [esp, windows])
    disk[MIB : MIB + 512] = fat32_boot_sector()
    disk[WINDOWS_AT : WINDOWS_AT + 512] = ntfs_boot_sector(WINDOWS_LENGTH)
    return disk
