"""A locked BitLocker volume's first sector and metadata, made byte by byte; its keys open nothing.

By libbde's format documentation, not by our own reader or writer.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

LENGTH = 1024 * 1024
BLOCKS = (0x20000, 0x40000, 0x60000)
MOVED_SECTORS = 16
VOLUME_ID = "8F595209-F5B9-49A0-85D4-CB8F80258C27"
RECOVERY_ID = "64311DEA-4587-4029-924A-BA299647998E"
TPM_ID = "3E55195C-8811-4D9B-97B4-2B9E5F8F5384"
CLEAR_ID = "F99F18E8-0348-4A6B-AFDF-58B1DD71F0D1"
SALT = bytes(range(16))
CLEAR_KEY = bytes(range(100, 132))
NORMAL = "4967d63b-2e29-4ad8-8399-f6a339e3d001"
ENCRYPT_ON_WRITE = "92a84d3b-dd80-4d0e-9e4e-b1e3284eaed8"


def datum(role: int, kind: int, payload: bytes, flags: int = 1) -> bytes:
    """One entry with its own header."""
    return struct.pack("<4H", 8 + len(payload), role, kind, flags) + payload


def sealed(role: int, length: int = 44) -> bytes:
    """A sealed box of nothing in particular: nonce, tag, ciphertext."""
    return datum(role, 5, b"N" * 12 + b"T" * 16 + b"C" * length)


def protector(guid: str, kind: int, nested: bytes) -> bytes:
    """A key protector."""
    return datum(2, 8, UUID(guid).bytes_le + bytes(8) + struct.pack("<2H", 0, kind) + nested)


def recovery_protector() -> bytes:
    """A recovery password, as Windows writes it: a stretched key, then the box."""
    stretched = struct.pack("<2H", 0x1000, 0) + SALT + sealed(0x12, 28) + sealed(0x13)
    return protector(RECOVERY_ID, 0x0800, datum(0, 3, stretched) + sealed(0))


def clear_protector() -> bytes:
    """A protector whose key lies open: BitLocker is suspended."""
    return protector(CLEAR_ID, 0, datum(0, 1, struct.pack("<2H", 0x2000, 0) + CLEAR_KEY) + sealed(0))


@dataclass
class FveVolume:
    """What the volume says; change a field, then `build()`."""

    description: str = "WARD-7 C: 7/19/2024"
    protectors: Sequence[bytes] = field(
        default_factory=lambda: [recovery_protector(), protector(TPM_ID, 0x0100, sealed(0))]
    )
    method: int = 0x8004
    state: int = 4
    next_state: int = 4
    conversion: int = 0
    volume_length: int = LENGTH
    layout: str = NORMAL
    signature: bytes = b"-FVE-FS-"
    moved_header: tuple[int, int] = (0x80000, 0x2000)
    volume_id: str = VOLUME_ID
    version: int = 2
    sector_size: int = 512
    more: bytes = b""

    def build(self) -> bytearray:
        """The volume's bytes, all copies sound."""
        volume = bytearray(LENGTH)
        volume[:11] = b"\xeb\x58\x90" + self.signature
        struct.pack_into("<HB", volume, 11, self.sector_size, 8)
        at = 0x1A8 if self.signature == b"MSWIN4.1" else 0xA0
        volume[at : at + 16] = UUID(self.layout).bytes_le
        struct.pack_into("<3Q", volume, at + 16, *BLOCKS)
        volume[510:512] = b"\x55\xaa"
        for offset in BLOCKS:
            block = self.block()
            volume[offset : offset + len(block)] = block
        return volume

    def block(self) -> bytes:
        """One metadata block with a right checksum and a sealed one."""
        entries = datum(7, 2, self.description.encode("utf-16-le") + b"\0\0")
        entries += b"".join(self.protectors) + sealed(3)
        entries += datum(15, 15, struct.pack("<2Q", *self.moved_header) + bytes(76)) + self.more
        size = 48 + len(entries)
        dataset = struct.pack("<4I", size, 1, 48, size) + UUID(self.volume_id).bytes_le
        dataset += struct.pack("<IHHQ", 10, self.method, 0, 0) + entries
        total = -(-(64 + size) // 16) * 16
        header = struct.pack(
            "<8sHHHHQII3QQ",
            *(b"-FVE-FS-", total // 16, self.version, self.state, self.next_state, self.volume_length),
            *(self.conversion, MOVED_SECTORS, *BLOCKS, self.moved_header[0]),
        )
        body = (header + dataset).ljust(total, b"\0")
        return body + struct.pack("<HHI", 0x10000 - total, 2, zlib.crc32(body)) + sealed(0)
