"""Images as a host that lost its power leaves them: opened for writing, their own format changes them."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID

_HEADERS = (65536, 131072)
_LOG = UUID(int=0x1234567890ABCDEF1234567890ABCDEF).bytes_le


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x82F63B78 if crc & 1 else crc >> 1
    return crc ^ 0xFFFFFFFF


def _sealed(raw: bytearray) -> bytearray:
    """With its checksum, which is at byte 4 and counts itself as zeros."""
    raw[4:8] = bytes(4)
    struct.pack_into("<I", raw, 4, _crc32c(bytes(raw)))
    return raw


def leave_log(vhdx: Path, at: int) -> None:
    """Move the 4 KiB at a place of the file into its log ([MS-VHDX] 2.3): whoever opens it puts them back."""
    raw = bytearray(vhdx.read_bytes())
    heads = [raw[place : place + 4096] for place in _HEADERS]
    newest = max(heads, key=lambda head: struct.unpack_from("<Q", head, 8)[0])
    (sequence,) = struct.unpack_from("<Q", newest, 8)
    (log_at,) = struct.unpack_from("<Q", newest, 0x48)
    taken = bytes(raw[at : at + 4096])
    entry = bytearray(8192)
    struct.pack_into("<4sIIIQII16sQQ", entry, 0, b"loge", 0, 8192, 0, 1, 1, 0, _LOG, len(raw), len(raw))
    struct.pack_into("<4s4s8sQQ", entry, 64, b"desc", taken[-4:], taken[:8], at, 1)
    struct.pack_into("<4sI4084sI", entry, 4096, b"data", 0, taken[8:-4], 1)
    raw[log_at : log_at + 8192] = _sealed(entry)
    for number, place in enumerate(_HEADERS, start=1):
        struct.pack_into("<Q", newest, 8, sequence + number)
        newest[0x30:0x40] = _LOG
        raw[place : place + 4096] = _sealed(newest)
    raw[at : at + 4096] = bytes(4096)
    vhdx.write_bytes(raw)


def set_dirty(qcow2: Path) -> None:
    """Set the dirty bit, as `lazy_refcounts=on` leaves it: QEMU recounts what it opens for writing."""
    with qcow2.open("r+b") as stream:
        stream.seek(72)
        incompatible, compatible = struct.unpack(">QQ", stream.read(16))
        stream.seek(72)
        stream.write(struct.pack(">QQ", incompatible | 1, compatible | 1))
