"""What a piece of a volume is, by its content: an index block, security descriptors, the table's bitmap.

Where a piece is recognised, a record that cannot be read is no reason to doubt whose it is. Where it is not
(an index block without an entry, a stretch of zeros) the answer is no, which is not an error. The layouts are
those of the Linux-NTFS project's documentation (`$INDEX_ALLOCATION`, `$Secure`).
"""

from __future__ import annotations

import struct

from unbrick.disks.ntfs.file_table import FileTable
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import INDEX_ROOT, REFERENCE, damaged, unprotect

_LAST_ENTRY = 2
_PARENT = struct.Struct("<Q")
_SECURITY_BLOCK = 1 << 18  # each block of `$SDS` is followed by a copy of itself
_SECURITY_HEAD = struct.Struct("<IIQI")
_LARGEST_DESCRIPTOR = _SECURITY_HEAD.size + (1 << 16)
_SECTOR = 512
_FEW_BITS = 16
_KEPT = 24  # records that are marked as used for Windows' own later needs


def is_index_block(blocks: Stream, position: int, size: int, cluster: int, folder: int) -> bool:
    """Whether a place in a folder's index is a block whose every entry names that folder as its own."""
    entries = _entries(blocks, position, size, cluster)
    return bool(entries) and all(
        len(key) >= 8 and _PARENT.unpack_from(key)[0] & REFERENCE == folder for _, key in entries
    )


def is_security_index_block(
    blocks: Stream, position: int, size: int, cluster: int, descriptors: Stream
) -> bool:
    """Whether a place in an index of `$Secure` is a block whose every entry leads to its descriptor."""
    entries = _entries(blocks, position, size, cluster)
    for entry, _ in entries:
        start, length = struct.unpack_from("<HH", entry)
        head = entry[start : start + length]
        if length != _SECURITY_HEAD.size or len(head) != length:
            return False
        if descriptors.read(_SECURITY_HEAD.unpack(head)[2], length) != head:
            return False
    return bool(entries)


def is_among_descriptors(descriptors: Stream, position: int, cluster: int) -> bool:
    """Whether an entry begins in the cluster at a place in `$SDS` that states this very place."""
    block, copy = divmod(position // _SECURITY_BLOCK, 2)
    start = (2 * block + copy) * _SECURITY_BLOCK
    shift = copy * _SECURITY_BLOCK
    first = position // cluster * cluster
    whole = descriptors.read(start, min(_SECURITY_BLOCK, first + cluster - start))
    at = 0
    while at + _SECURITY_HEAD.size <= len(whole):
        _, _, place, size = _SECURITY_HEAD.unpack_from(whole, at)
        if place != start + at - shift or size < _SECURITY_HEAD.size:
            return False
        if start + at >= first:
            return True
        at = -(-(at + size) // 16) * 16
    return False


def find_descriptors(descriptors: Stream, position: int, length: int) -> list[tuple[int, bytes]]:
    """The entries of `$SDS` that reach into a stretch, each with its place; also those behind its end.

    An entry states its own place; its copy in the block behind states that of the first.
    """
    found: list[tuple[int, bytes]] = []
    start = max(0, position - _LARGEST_DESCRIPTOR) // 16 * 16
    stretch = descriptors.read(start, position + length - start)
    for at in range(0, len(stretch) - _SECURITY_HEAD.size + 1, 16):
        here = start + at
        _, _, place, size = _SECURITY_HEAD.unpack_from(stretch, at)
        is_copy = here // _SECURITY_BLOCK % 2
        if place != here - is_copy * _SECURITY_BLOCK or here + size <= position:
            continue
        if _SECURITY_HEAD.size <= size <= _LARGEST_DESCRIPTOR:
            found.append((here, descriptors.read(here, size)))
    return found


def is_table_bitmap(table: FileTable, bitmap: Stream, position: int) -> bool:
    """Whether a sector of the file table's bitmap agrees with each record."""
    sector = position // _SECTOR * _SECTOR
    bits = bitmap.read(sector, _SECTOR)
    size, first = table.geometry.record, sector * 8
    records = table.stream.read(first * size, min(len(bits) * 8, table.count - first) * size)
    counts = [0, 0]
    for index in range(len(records) // size):
        head = records[index * size : index * size + 0x18]
        marked = bits[index // 8] >> index % 8 & 1
        if marked != (head[:4] == b"FILE" and head[0x16] & 1) and not (marked and first + index < _KEPT):
            return False
        counts[marked] += 1
    return min(counts) >= _FEW_BITS


def index_block_size(table: FileTable, number: int, name: str) -> int:
    """Bytes in each block of a file's index; raises NeedsHandsError (damaged-volume)."""
    root = table.find_attribute(number, INDEX_ROOT, name)
    size = int.from_bytes((root.value or b"")[8:12], "little") if root is not None else 0
    if size & (size - 1) or not 512 <= size <= 65536:
        raise damaged(f"the index of a folder has no size (record {number})")
    return size


def _entries(blocks: Stream, position: int, size: int, cluster: int) -> list[tuple[bytes, bytes]]:
    """Each entry of the index block around `position`, and its key; none where it is no such block.

    None either where a block is in several clusters: one of them says nothing about whose the others are.
    """
    if size > cluster:
        return []
    start = position // size * size
    block = unprotect(blocks.read(start, size), b"INDX")
    # A block is counted in clusters, or in sectors where it is smaller than one.
    unit = cluster if cluster == size else _SECTOR
    if block is None or struct.unpack_from("<Q", block, 0x10)[0] * unit != start:
        return []
    first, end = struct.unpack_from("<II", block, 0x18)
    at, end = 0x18 + first, min(0x18 + end, size)
    found: list[tuple[bytes, bytes]] = []
    while at + 16 <= end:
        length, key_length, flags = struct.unpack_from("<HHH", block, at + 8)
        if flags & _LAST_ENTRY:
            return found
        if length < 16 or at + length > end or 16 + key_length > length:
            return []
        found.append((block[at : at + length], block[at + 16 : at + 16 + key_length]))
        at += length
    return []
