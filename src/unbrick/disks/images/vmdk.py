"""Checks a VMDK image before QEMU opens it: its descriptor, the extents it names, no parent.

Layout: VMware's "Virtual Disk Format 5.0"; how QEMU reads it: `block/vmdk.c`.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.images.parts import (
    LARGEST_DISK,
    own_part,
    refuse_truncated,
    refuse_unsafe,
    view_part,
)
from unbrick.disks.raw_view import RawView

SPARSE_MAGIC = b"KDMV"
DESCRIPTOR_MAGIC = b"# Disk DescriptorFile"
_HEADER = struct.Struct("<4sIIQQQQIQQQBccccH")
_COMPRESSED = 1 << 16
_DESCRIPTOR_LIMIT = 1024 * 1024
_TABLE_ENTRIES = 512
_TABLES_LIMIT = 64 * 1024  # 2 TiB, the most that one sparse extent may hold
_NO_PARENT = "ffffffff"
_SECTOR = 512
_EXTENT_LINE = re.compile(
    r'^(RW|RDONLY|NOACCESS)\s+(\d{1,15})\s+(\w+)(?:\s+"([^"]*)"(?:\s+(\d{1,15}))?)?\s*$'
)
_KINDS = {
    "monolithicsparse": {"SPARSE"},
    "twogbmaxextentsparse": {"SPARSE"},
    "monolithicflat": {"FLAT"},
    "twogbmaxextentflat": {"FLAT"},
    "vmfs": {"VMFS", "FLAT"},
}


@dataclass(frozen=True)
class VmdkHeader:
    """Its size in bytes, and the extent files beside it."""

    virtual_size: int
    extents: tuple[Path, ...]


@dataclass(frozen=True)
class _Extent:
    sectors: int
    kind: str
    name: str
    offset: int


def is_vmdk(head: bytes) -> bool:
    """Whether a file begins as one of the two kinds of VMDK that QEMU opens for writing."""
    return head.startswith((SPARSE_MAGIC, DESCRIPTOR_MAGIC)) or b"\n" + DESCRIPTOR_MAGIC in head


def is_whole_vmdk(view: RawView) -> bool:
    """Whether a file is a VMDK that can be opened by itself, not an extent of another one."""
    head = view.read(0, 4096)
    if not head.startswith(SPARSE_MAGIC) or len(head) < _HEADER.size:
        return is_vmdk(head)
    descriptor_at, length = _HEADER.unpack_from(head)[5:7]
    return any(view.read(descriptor_at * _SECTOR, min(length * _SECTOR, 512))) if descriptor_at else False


def read_vmdk(view: RawView, path: Path) -> VmdkHeader:
    """Read and check the header and every extent; raises NeedsHandsError (image-unsafe, truncated)."""
    if view.read(0, 4) == SPARSE_MAGIC:
        return _read_monolithic(view, path)
    if view.size > _DESCRIPTOR_LIMIT:
        refuse_unsafe(path, "its descriptor is too large")
    extents = _read_descriptor(view.read(0, view.size), path)
    parts = [own_part(path, extent.name) for extent in extents]
    if len(set(parts)) != len(parts):
        refuse_unsafe(path, "it names the same extent twice")
    for extent, part in zip(extents, parts, strict=True):
        _check_extent(extent, part)
    size = sum(extent.sectors for extent in extents) * _SECTOR
    if not 0 < size <= LARGEST_DISK:
        refuse_unsafe(path, "its descriptor states an impossible size")
    return VmdkHeader(size, tuple(parts))


def _read_monolithic(view: RawView, path: Path) -> VmdkHeader:
    size = _read_sparse(view, path)
    _, _, _, _, _, descriptor_at, descriptor_length = _HEADER.unpack_from(view.read(0, _HEADER.size))[:7]
    if not descriptor_at or descriptor_length * _SECTOR > _DESCRIPTOR_LIMIT:
        refuse_unsafe(path, "its descriptor is missing or too large")
    raw = view.read(descriptor_at * _SECTOR, descriptor_length * _SECTOR)
    extents = _read_descriptor(raw.split(b"\0", 1)[0], path)
    if len(extents) != 1:
        refuse_unsafe(path, "it consists of several extents, but lies in one file")
    return VmdkHeader(size, ())


def _read_sparse(view: RawView, path: Path) -> int:
    """Check a sparse extent; its capacity in bytes."""
    raw = view.read(0, _HEADER.size)
    if len(raw) < _HEADER.size:
        refuse_truncated(path)
    header = _HEADER.unpack_from(raw)
    magic, version, flags, capacity, grain = header[:5]
    entries, grain_directory, compression = header[7], header[9], header[-1]
    if magic != SPARSE_MAGIC or version not in (1, 2, 3):
        refuse_unsafe(path, "it is not a sparse extent that is known here")
    # With a capacity of 0, QEMU would take the extents from a descriptor inside this extent.
    if not 0 < capacity * _SECTOR <= LARGEST_DISK or not grain or grain & (grain - 1) or grain > 1 << 16:
        refuse_unsafe(path, "its header states an impossible size")
    if flags & _COMPRESSED or compression:
        refuse_unsafe(
            path, "it is a compressed (stream-optimised) image", "convert it with qemu-img convert -O vmdk"
        )
    if entries != _TABLE_ENTRIES:
        refuse_unsafe(path, "its grain tables have an unusual size")
    tables = -(-capacity // (grain * entries))
    if tables > _TABLES_LIMIT:
        refuse_unsafe(path, "its grain directory is larger than can be checked here")
    _check_grains(view, path, grain_directory * _SECTOR, tables)
    return int(capacity * _SECTOR)


def _check_grains(view: RawView, path: Path, directory_at: int, tables: int) -> None:
    # QEMU reads grains after the end of the file as zeros, so every one that is named must be there.
    directory = view.read(directory_at, tables * 4)
    if len(directory) < tables * 4:
        refuse_truncated(path)
    for sector in set(struct.unpack(f"<{tables}I", directory)) - {0}:
        table = view.read(sector * _SECTOR, _TABLE_ENTRIES * 4)
        if len(table) < _TABLE_ENTRIES * 4:
            refuse_truncated(path)
        # 1 marks a grain that reads as zeros; the others are the sectors where the grains begin.
        if max(struct.unpack(f"<{_TABLE_ENTRIES}I", table)) * _SECTOR >= view.size:
            refuse_truncated(path)


def _read_descriptor(raw: bytes, path: Path) -> list[_Extent]:
    settings: dict[str, str] = {}
    extents: list[_Extent] = []
    before = ""
    for line in raw.decode("utf-8", errors="replace").splitlines():
        found = _EXTENT_LINE.match(line.strip())
        if found:
            access, sectors, kind, name, offset = found.groups()
            # QEMU reads the line after an empty one twice, and would open the extent twice.
            if not before.strip():
                refuse_unsafe(path, "its descriptor has an empty line before an extent", "delete that line")
            if access != "RW":
                refuse_unsafe(path, f"it has an extent that may not be written ({access})")
            extents.append(_Extent(int(sectors), kind, name or "", int(offset or 0)))
        elif line.split()[:1] in (["RW"], ["RDONLY"], ["NOACCESS"]):
            refuse_unsafe(path, "its descriptor has an extent that is not understood")
        elif "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            settings.setdefault(key.strip().lower(), value.strip().strip('"'))
        before = line
    if settings.get("parentcid", _NO_PARENT).lower() != _NO_PARENT or "parentfilenamehint" in settings:
        hint = "merge the snapshot into its parent first (in VMware: delete the snapshot)"
        refuse_unsafe(path, "it holds only the differences to another image", hint)
    kind = settings.get("createtype", "").lower()
    if kind not in _KINDS:
        shown = "".join(c for c in kind[:40] if c.isalnum())
        refuse_unsafe(path, f"its type {shown!r} is not supported", "convert it with qemu-img convert")
    if not extents or any(extent.kind not in _KINDS[kind] for extent in extents):
        refuse_unsafe(path, "its extents do not fit its type")
    return extents


def _check_extent(extent: _Extent, part: Path) -> None:
    with view_part(part) as view:
        if extent.kind == "SPARSE":
            if _read_sparse(view, part) < extent.sectors * _SECTOR:
                refuse_truncated(part)
        elif (extent.offset + extent.sectors) * _SECTOR > view.size:
            refuse_truncated(part)
