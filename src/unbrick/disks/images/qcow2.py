"""Checks a qcow2 image before QEMU opens it: what files it refers to, and whether it is whole.

Layout: QEMU's `docs/interop/qcow2.txt`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.images.parts import LARGEST_DISK, refuse_truncated, refuse_unsafe
from unbrick.disks.raw_view import RawView

MAGIC = b"QFI\xfb"
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_VERSION_3 = struct.Struct(">QQQII")
_CORRUPT, _DATA_FILE, _KNOWN_FEATURES = 1 << 1, 1 << 2, 0x1F
_DATA_FILE_NAME, _BACKING_FORMAT, _EXTENSIONS_END = 0x44415441, 0xE2792ACA, 0
_NAME_LIMIT = 1023
_L1_LIMIT = 32 * 1024 * 1024
_REFCOUNT_TABLE_LIMIT = 8 * 1024 * 1024
# Counts that are all 0, in bytes: more are of an image of terabytes with nothing in it.
_UNUSED_LIMIT = 256 * 1024 * 1024
_OFFSET_MASK = 0x00FFFFFFFFFFFE00


@dataclass(frozen=True)
class Qcow2Header:
    """What its header says; the names are the image's own words, not yet trusted."""

    virtual_size: int
    backing_name: str | None
    backing_format: str | None
    data_file_name: str | None


def read_qcow2(view: RawView, path: Path) -> Qcow2Header:
    """Read and check the header; raises NeedsHandsError (image-unsafe, truncated)."""
    raw = view.read(0, 4096)
    if len(raw) < _HEADER.size + _VERSION_3.size:
        refuse_truncated(path)
    header = _HEADER.unpack_from(raw)
    version, backing_offset, backing_length, cluster_bits, size, encryption = header[1:7]
    l1_entries, l1_offset, refcount_offset, refcount_clusters = header[7:11]
    if version not in (2, 3):
        refuse_unsafe(path, f"it is a qcow image of version {version}", "convert it with qemu-img convert")
    if encryption:
        refuse_unsafe(path, "it is encrypted by QEMU", "decrypt it with qemu-img convert")
    if not 9 <= cluster_bits <= 21 or not 0 < size <= LARGEST_DISK or size % 512:
        refuse_unsafe(path, "its header states an impossible size")
    features, refcount_order, header_length = _read_version_3(raw, path) if version == 3 else (0, 4, 72)
    if l1_entries * 8 > _L1_LIMIT or l1_offset + l1_entries * 8 > view.size:
        refuse_truncated(path)
    cluster = 1 << cluster_bits
    _check_whole(view, path, refcount_offset, refcount_clusters * cluster, cluster, 1 << refcount_order)
    extensions = _read_extensions(raw, header_length)
    if backing_offset and backing_length > _NAME_LIMIT:
        refuse_unsafe(path, "the name of its backing file is too long")
    backing = view.read(backing_offset, backing_length).decode(errors="replace") if backing_offset else None
    data_file = None
    if features & _DATA_FILE:
        data_file = extensions.get(_DATA_FILE_NAME, b"").decode(errors="replace")
    backing_format = extensions.get(_BACKING_FORMAT, b"").decode(errors="replace") or None
    return Qcow2Header(size, backing, backing_format, data_file)


def _read_version_3(raw: bytes, path: Path) -> tuple[int, int, int]:
    features, _, _, refcount_order, header_length = _VERSION_3.unpack_from(raw, 72)
    if features & _CORRUPT:
        refuse_unsafe(path, "it is marked as corrupt", "qemu-img check -r all may repair a copy of it")
    if features & ~_KNOWN_FEATURES:
        refuse_unsafe(path, "it needs a feature that is not known here")
    if refcount_order > 6 or not 104 <= header_length <= 512:
        refuse_unsafe(path, "its header contradicts itself")
    return features, refcount_order, header_length


def _read_extensions(raw: bytes, header_length: int) -> dict[int, bytes]:
    """The header extensions within the first 4 KiB, where QEMU writes them."""
    found: dict[int, bytes] = {}
    position = header_length
    while position + 8 <= len(raw):
        kind, length = struct.unpack_from(">II", raw, position)
        if kind == _EXTENSIONS_END or position + 8 + length > len(raw):
            break
        found[kind] = raw[position + 8 : position + 8 + length]
        position += 8 + (length + 7) // 8 * 8
    return found


def _check_whole(view: RawView, path: Path, table_at: int, table_size: int, cluster: int, bits: int) -> None:
    # QEMU reads clusters after the end of the file as zeros, so the last one in use must be there. The
    # reference counts are in the order of the clusters: the last one that is not 0 is the last cluster's.
    if table_size > _REFCOUNT_TABLE_LIMIT or table_at + table_size > view.size:
        refuse_truncated(path)
    table = view.read(table_at, table_size)
    blocks = struct.unpack(f">{len(table) // 8}Q", table)
    unused = 0
    for index in range(len(blocks) - 1, -1, -1):
        offset = blocks[index] & _OFFSET_MASK
        if not offset:
            continue
        if offset + cluster > view.size:
            refuse_truncated(path)
        used = view.read(offset, cluster).rstrip(b"\0")
        if used:
            last = index * (cluster * 8 // bits) + (len(used) - 1) * 8 // bits
            if last * cluster >= view.size:
                refuse_truncated(path)
            return
        unused += cluster
        if unused > _UNUSED_LIMIT:
            refuse_unsafe(path, "it counts more unused clusters than can be checked here")
