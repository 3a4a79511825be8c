"""Checks a VHDX image before QEMU opens it: its size, its sector size, no parent, nothing missing.

Layout: [MS-VHDX]. QEMU checks the checksums itself.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from unbrick.disks.images.parts import LARGEST_DISK, refuse_truncated, refuse_unsafe
from unbrick.disks.raw_view import RawView

MAGIC = b"vhdxfile"
_HEADERS = (64 * 1024, 128 * 1024)
_LOG_ID = 48  # in a header: the log's GUID, all zeros where it is empty
_REGION_TABLES = (192 * 1024, 256 * 1024)
_TABLE_SIZE = 64 * 1024
_BAT = UUID("2DC27766-F623-4200-9D64-115E9BFD4A08").bytes_le
_METADATA = UUID("8B7CA206-4790-4B9A-B8FE-575F050F886E").bytes_le
_FILE_PARAMETERS = UUID("CAA16737-FA36-4D43-B3B6-33F0AA44E76B").bytes_le
_VIRTUAL_SIZE = UUID("2FA54224-CD1B-4876-B211-5DBED83BF4B8").bytes_le
_SECTOR_SIZE = UUID("8141BF1D-A96F-4709-BA47-F233A8FAAB5F").bytes_le
_PARENT_LOCATOR = UUID("A8D35F2D-B30B-454D-ABF7-D3D84834AB0C").bytes_le
_HAS_PARENT = 2
_ENTRIES_LIMIT = 2047
_BAT_LIMIT = 4 * 1024 * 1024
_BAT_CHUNK = 1024 * 1024
_PRESENT_STATES = (6, 7)
_MEGABYTE = 1024 * 1024


@dataclass(frozen=True)
class VhdxHeader:
    """Sizes in bytes, and whether writes wait in its log (its host crashed)."""

    virtual_size: int
    sector_size: int
    has_log: bool


def read_vhdx(view: RawView, path: Path) -> VhdxHeader:
    """Read and check the metadata; raises NeedsHandsError (image-unsafe, truncated)."""
    regions = _read_regions(view, path)
    for offset, length in regions.values():
        if offset + length > view.size:
            refuse_truncated(path)
    if _BAT not in regions or _METADATA not in regions:
        refuse_unsafe(path, "it lacks its block table or its metadata")
    items = _read_metadata(view, path, regions[_METADATA][0])
    try:
        block_size, flags = struct.unpack_from("<II", items[_FILE_PARAMETERS])
        (size,) = struct.unpack_from("<Q", items[_VIRTUAL_SIZE])
        (sector_size,) = struct.unpack_from("<I", items[_SECTOR_SIZE])
    except (KeyError, struct.error):
        refuse_unsafe(path, "its metadata is incomplete")
    if flags & _HAS_PARENT or _PARENT_LOCATOR in items:
        hint = "merge the checkpoint into its parent first (in Hyper-V: delete the checkpoint)"
        refuse_unsafe(path, "it holds only the differences to another image", hint)
    if sector_size not in (512, 4096) or not 0 < size <= LARGEST_DISK or size % sector_size:
        refuse_unsafe(path, "its metadata states an impossible size")
    if not _MEGABYTE <= block_size <= 256 * _MEGABYTE or block_size & (block_size - 1):
        refuse_unsafe(path, "its metadata states an impossible block size")
    _check_blocks(view, path, regions[_BAT], size, block_size, sector_size)
    return VhdxHeader(size, sector_size, _has_log(view))


def _has_log(view: RawView) -> bool:
    # One of the two headers names a log; which of them counts is left to QEMU.
    return any(any(view.read(offset + _LOG_ID, 16)) for offset in _HEADERS)


def _read_regions(view: RawView, path: Path) -> dict[bytes, tuple[int, int]]:
    tables = [view.read(offset, _TABLE_SIZE) for offset in _REGION_TABLES]
    if any(len(table) < _TABLE_SIZE for table in tables):
        refuse_truncated(path)
    sound = [table for table in tables if table[:4] == b"regi"]
    if not sound:
        refuse_unsafe(path, "it has no region table")
    (count,) = struct.unpack_from("<I", sound[0], 8)
    if count > _ENTRIES_LIMIT:
        refuse_unsafe(path, "its region table states an impossible size")
    entries = [struct.unpack_from("<16sQII", sound[0], 16 + 32 * number) for number in range(count)]
    return {guid: (offset, length) for guid, offset, length, _ in entries}


def _read_metadata(view: RawView, path: Path, at: int) -> dict[bytes, bytes]:
    table = view.read(at, _TABLE_SIZE)
    if len(table) < _TABLE_SIZE:
        refuse_truncated(path)
    (count,) = struct.unpack_from("<H", table, 10)
    if table[:8] != b"metadata" or count > _ENTRIES_LIMIT:
        refuse_unsafe(path, "its metadata table is damaged")
    items = {}
    for number in range(count):
        item, offset, length, _ = struct.unpack_from("<16sIII", table, 32 + 32 * number)
        items[item] = view.read(at + offset, min(length, _TABLE_SIZE))
    return items


def _check_blocks(
    view: RawView, path: Path, bat: tuple[int, int], size: int, block_size: int, sector_size: int
) -> None:
    """Every block that is marked as present must be within the file."""
    blocks = -(-size // block_size)
    # After each such number of blocks the table holds one entry for a sector bitmap, of one megabyte.
    run = (1 << 23) * sector_size // block_size
    entries = blocks + (blocks - 1) // run
    if entries > _BAT_LIMIT:
        refuse_unsafe(path, "its block table is larger than can be checked here")
    if entries * 8 > bat[1]:
        refuse_unsafe(path, "its block table is too small for its size")
    for position in range(0, entries * 8, _BAT_CHUNK):
        chunk = view.read(bat[0] + position, min(_BAT_CHUNK, entries * 8 - position))
        numbers = struct.unpack(f"<{len(chunk) // 8}Q", chunk)
        for index, entry in enumerate(numbers, start=position // 8):
            if entry & 7 not in _PRESENT_STATES:
                continue
            is_bitmap = index % (run + 1) == run
            rest = size - (index - index // (run + 1)) * block_size
            length = _MEGABYTE if is_bitmap else min(block_size, rest)
            if (entry >> 20) * _MEGABYTE + length > view.size:
                refuse_truncated(path)
