"""What a FAT file system is called, by its boot sector and its root folder; whatever lies there is hostile.

Windows writes the name into the root folder alone, and NO NAME into the boot sector; Linux writes both.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]
"""`read(offset, length)`: that many bytes, or as many as there are."""

_SECTOR = 512
_SIGNATURE = (510, b"\x55\xaa")
# Microsoft's FAT specification, offsets in the boot sector: kind of file system, label, serial number.
_KINDS = ((82, 71, 67, b"FAT32   "), (54, 43, 39, b"FAT16   "), (54, 43, 39, b"FAT12   "))
_GEOMETRY = struct.Struct("<HBHBH")  # from byte 11: sector, cluster, reserved sectors, tables, root entries
_SECTOR_SIZES = {512, 1024, 2048, 4096}
_ENTRY = 32
_MOST_BYTES = 64 * 1024
_LABEL, _LONG_NAME, _DELETED = 0x08, 0x0F, 0xE5


@dataclass(frozen=True)
class FatVolume:
    """`labels` are eleven bytes each, `serial` is the volume serial number (`1A2B-3C4D`)."""

    labels: frozenset[bytes]
    serial: str


def read_fat(read: Read) -> FatVolume | None:
    """What a FAT file system says of itself; None where there is none."""
    sector = read(0, _SECTOR)
    at, signature = _SIGNATURE
    if len(sector) < _SECTOR or sector[at : at + 2] != signature:
        return None
    for kind_at, label_at, serial_at, kind in _KINDS:
        if sector[kind_at : kind_at + 8] == kind:
            low, high = struct.unpack_from("<HH", sector, serial_at)
            labels = {sector[label_at : label_at + 11], *_root_labels(read, sector, kind_at == _KINDS[0][0])}
            return FatVolume(frozenset(one.upper() for one in labels), f"{high:04X}-{low:04X}")
    return None


def _root_labels(read: Read, sector: bytes, is_fat32: bool) -> Iterator[bytes]:
    """The label in the root folder, which is looked for in its beginning only."""
    size, cluster, reserved, tables, entries = _GEOMETRY.unpack_from(sector, 11)
    if size not in _SECTOR_SIZES:
        return
    length = struct.unpack_from("<I", sector, 36)[0] if is_fat32 else struct.unpack_from("<H", sector, 22)[0]
    begins = (reserved + tables * length) * size
    most = entries * _ENTRY
    if is_fat32:
        begins += max(struct.unpack_from("<I", sector, 44)[0] - 2, 0) * cluster * size
        most = cluster * size
    folder = read(begins, min(most, _MOST_BYTES))
    for start in range(0, len(folder) - _ENTRY + 1, _ENTRY):
        name, attributes = folder[start : start + 11], folder[start + 11]
        if name[0] == 0:
            return
        if name[0] != _DELETED and attributes & _LABEL and attributes != _LONG_NAME:
            yield name
            return
