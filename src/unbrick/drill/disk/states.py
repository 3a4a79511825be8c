"""How Windows left an NTFS volume: the dirty flag, and a journal that a crash left open.

Works on the bytes of an unmounted volume. Structures: the public NTFS documentation of the Linux-NTFS
project ($Volume, $MFTMirr, update sequence arrays, $LogFile restart pages, version 1.1).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unbrick.errors import FailedError

_LOG_RECORD, _VOLUME_RECORD = 2, 3
_DATA, _VOLUME_INFORMATION = 0x80, 0x70
_END_OF_ATTRIBUTES = 0xFFFFFFFF
_DIRTY = 0x0001
_STRIDE = 512  # update sequence arrays count in these, whatever the sector size
_PAGE = 4096
_NO_CLIENT = 0xFFFF


@dataclass(frozen=True)
class _Geometry:
    """Offsets in bytes from the start of the volume."""

    cluster: int
    record: int
    table: int
    mirror: int


def _read_geometry(stream: BinaryIO) -> _Geometry:
    stream.seek(0)
    boot = stream.read(512)
    if boot[3:11] != b"NTFS    ":
        raise FailedError("the volume just made is not NTFS")
    sector, per_cluster = struct.unpack_from("<HB", boot, 0x0B)
    cluster = sector * per_cluster
    table, mirror, record_size = struct.unpack_from("<QQb", boot, 0x30)
    record = record_size * cluster if record_size > 0 else 1 << -record_size
    return _Geometry(cluster, record, table * cluster, mirror * cluster)


def _without_fixups(protected: bytes) -> bytearray:
    """A record as it is meant, the last two bytes of each stride put back."""
    record = bytearray(protected)
    at, count = struct.unpack_from("<HH", record, 4)
    for index in range(1, count):
        end = index * _STRIDE
        if record[end - 2 : end] != record[at : at + 2]:
            raise FailedError("a record of the volume just made is torn")
        record[end - 2 : end] = record[at + 2 * index : at + 2 * index + 2]
    return record


def _with_fixups(record: bytes | bytearray) -> bytes:
    """A record as it lies on the disk; its update sequence number must be set."""
    protected = bytearray(record)
    at, count = struct.unpack_from("<HH", protected, 4)
    for index in range(1, count):
        end = index * _STRIDE
        protected[at + 2 * index : at + 2 * index + 2] = protected[end - 2 : end]
        protected[end - 2 : end] = protected[at : at + 2]
    return bytes(protected)


def _find_attribute(record: bytes | bytearray, wanted: int) -> int:
    """Where an unnamed attribute begins in a record."""
    (at,) = struct.unpack_from("<H", record, 20)
    while at + 8 <= len(record):
        kind, length = struct.unpack_from("<II", record, at)
        if kind == wanted:
            return int(at)
        if kind == _END_OF_ATTRIBUTES or length == 0:
            break
        at += length
    raise FailedError(f"the volume just made has no attribute {wanted:#x} where it belongs")


def mark_dirty(volume: Path) -> None:
    """Set the volume's dirty flag, in $Volume and in its copy in $MFTMirr."""
    with volume.open("r+b") as stream:
        geometry = _read_geometry(stream)
        offset = _VOLUME_RECORD * geometry.record
        stream.seek(geometry.table + offset)
        record = _without_fixups(stream.read(geometry.record))
        at = _find_attribute(record, _VOLUME_INFORMATION)
        (value,) = struct.unpack_from("<H", record, at + 0x14)
        flags_at = at + value + 10
        (flags,) = struct.unpack_from("<H", record, flags_at)
        struct.pack_into("<H", record, flags_at, flags | _DIRTY)
        protected = _with_fixups(record)
        for copy in (geometry.table, geometry.mirror):
            stream.seek(copy + offset)
            stream.write(protected)


def _only_run(record: bytes | bytearray, attribute: int) -> tuple[int, int]:
    """Start and length in clusters of a non-resident attribute that mkntfs laid down in one piece."""
    (runs,) = struct.unpack_from("<H", record, attribute + 0x20)
    at = attribute + runs
    length_bytes, start_bytes = record[at] & 15, record[at] >> 4
    length = int.from_bytes(record[at + 1 : at + 1 + length_bytes], "little")
    at += 1 + length_bytes
    start = int.from_bytes(record[at : at + start_bytes], "little", signed=True)
    if record[at + start_bytes] != 0:
        raise FailedError("the journal of the volume just made lies in several pieces")
    return start, length


def restart_page(log_bytes: int, sequence: int) -> bytes:
    """A restart page of a journal of version 1.1 that is open: one client, `NTFS`, and not marked clean."""
    page = bytearray(_PAGE)
    area, client, strides = 0x30, 0x40, _PAGE // _STRIDE
    struct.pack_into("<4sHHQIIHHH", page, 0, b"RSTR", 0x1E, strides + 1, 0, _PAGE, _PAGE, area, 1, 1)
    struct.pack_into("<H", page, 0x1E, sequence)
    last = log_bytes // 8 + 0x400
    sequence_bits = 67 - log_bytes.bit_length()
    struct.pack_into(
        "<QHHHHIHHQIHHI",
        page,
        area,
        last,
        1,
        _NO_CLIENT,
        0,
        0,
        sequence_bits,
        client + 0xA0,
        client,
        log_bytes,
        0,
        0x30,
        0x40,
        sequence,
    )
    name = "NTFS".encode("utf-16-le")
    struct.pack_into(
        "<QQHHH6xI128s",
        page,
        area + client,
        last,
        last,
        _NO_CLIENT,
        _NO_CLIENT,
        0,
        len(name),
        name,
    )
    return _with_fixups(page)


def leave_journal_open(volume: Path) -> None:
    """Make $LogFile that of a crash with nothing pending: two open restart pages, no records."""
    with volume.open("r+b") as stream:
        geometry = _read_geometry(stream)
        stream.seek(geometry.table + _LOG_RECORD * geometry.record)
        record = _without_fixups(stream.read(geometry.record))
        attribute = _find_attribute(record, _DATA)
        start, _ = _only_run(record, attribute)
        (size,) = struct.unpack_from("<Q", record, attribute + 0x30)
        size = size // _PAGE * _PAGE
        stream.seek(start * geometry.cluster)
        stream.write(restart_page(size, 2) + restart_page(size, 1))
        stream.write(b"\xff" * (size - 2 * _PAGE))
