"""Edits the BitLocker metadata of a volume whose recovery password is known, and signs it as Windows would.

By libbde's format documentation, not by our own reader or writer.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from support.fve_bytes import datum

BLOCK = 0x10000
PROTECTOR, DESCRIPTION, VOLUME_KEY, MOVED_HEADER = (2, 8), (7, 2), (3, 5), (15, 15)
TPM, RECOVERY = 0x0100, 0x0800
_MASTER_KEYS: dict[tuple[bytes, str], bytes] = {}


@dataclass
class Entry:
    """One entry of the metadata, its payload without the header of eight bytes."""

    role: int
    type: int
    flags: int
    payload: bytes

    @property
    def protector(self) -> int | None:
        """The kind of a key protector."""
        return self.payload[26] | self.payload[27] << 8 if (self.role, self.type) == PROTECTOR else None


@dataclass
class Metadata:
    """What can be changed: the block's header (64 bytes), the dataset's (48), and the entries."""

    header: bytearray
    dataset: bytearray
    entries: list[Entry]

    def describe(self, text: str) -> None:
        """Write BitLocker's own label of the volume."""
        for entry in self.entries:
            if (entry.role, entry.type) == DESCRIPTION:
                entry.payload = f"{text}\0".encode("utf-16-le")

    def drop_protectors(self, kind: int) -> None:
        """Take the protectors of a kind away."""
        self.entries = [entry for entry in self.entries if entry.protector != kind]


def edit_metadata(
    image: Path,
    offset: int,
    password: str,
    change: Callable[[Metadata], None],
    *,
    copies: Sequence[int] = (0, 1, 2),
    sealed: bool = True,
) -> None:
    """Change some copies of the metadata of the volume at byte `offset`; the checksum is made anew.

    Not `sealed` leaves the sealed hash as it was, as whoever has no key must.
    """
    with image.open("r+b") as disk:
        disk.seek(offset)
        places = struct.unpack_from("<3Q", disk.read(512), 0xB0)
        disk.seek(offset + places[0])
        block = disk.read(BLOCK)
        size = struct.unpack_from("<H", block, 8)[0] * 16
        length = struct.unpack_from("<I", block, 64)[0]
        found = Metadata(
            bytearray(block[:64]), bytearray(block[64:112]), list(_entries(block[112 : 64 + length]))
        )
        master_key = _master_key(found.entries, password) if sealed else None
        change(found)
        changed = _pack(found, master_key, block[size + 8 : size + 88])
        for copy in copies:
            disk.seek(offset + places[copy])
            disk.write(changed)


def _entries(raw: bytes) -> Iterator[Entry]:
    at = 0
    while at + 8 <= len(raw):
        size, role, kind, flags = struct.unpack_from("<4H", raw, at)
        yield Entry(role, kind, flags, raw[at + 8 : at + size])
        at += size


def _pack(metadata: Metadata, master_key: bytes | None, seal: bytes) -> bytes:
    header, dataset = metadata.header, metadata.dataset
    body = b"".join(datum(one.role, one.type, one.payload, one.flags) for one in metadata.entries)
    size = -(-(112 + len(body)) // 16) * 16
    (counter,) = struct.unpack_from("<I", dataset, 32)
    struct.pack_into("<I", dataset, 0, 48 + len(body))
    struct.pack_into("<I", dataset, 12, 48 + len(body))
    struct.pack_into("<I", dataset, 32, counter + 1)
    struct.pack_into("<H", header, 8, size // 16)
    checked = (bytes(header) + bytes(dataset) + body).ljust(size, b"\0")
    if master_key is not None:
        digest = struct.pack("<6H", 44, 0, 1, 0, 0x2005, 0) + hashlib.sha256(checked).digest()
        nonce = struct.pack("<QI", struct.unpack_from("<Q", dataset, 40)[0] | 1 << 63, counter)
        box = AESCCM(master_key).encrypt(nonce, digest, None)
        seal = datum(0, 5, nonce + box[-16:] + box[:-16])
    return (checked + struct.pack("<HHI", BLOCK - size, 2, zlib.crc32(checked)) + seal).ljust(BLOCK, b"\0")


def _master_key(entries: Sequence[Entry], password: str) -> bytes:
    for entry in entries:
        if entry.protector == RECOVERY:
            place = (entry.payload, password)
            if place not in _MASTER_KEYS:
                _MASTER_KEYS[place] = _opened(list(_entries(entry.payload[28:])), password)
            if _MASTER_KEYS[place]:
                return _MASTER_KEYS[place]
    raise AssertionError("the password opens no protector")


def _opened(nested: Sequence[Entry], password: str) -> bytes:
    first = hashlib.sha256(struct.pack("<8H", *(int(group) // 11 for group in password.split("-")))).digest()
    salt = next(one.payload for one in nested if one.type == 3)[4:20]
    box = next(one.payload for one in nested if one.type == 5)
    last = bytes(32)
    for counter in range(0x100000):
        last = hashlib.sha256(last + first + salt + struct.pack("<Q", counter)).digest()
    try:
        return AESCCM(last).decrypt(box[:12], box[28:] + box[12:28], None)[12:44]
    except InvalidTag:
        return b""
