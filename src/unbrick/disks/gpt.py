"""The bytes of a GUID partition table, to read one and to make one. Pure.

Does not decide which table to believe. UEFI specification 2.10, section 5.3; sector numbers everywhere.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

SIGNATURE = b"EFI PART"
UNUSED = bytes(16)
"""The type of an entry that holds no partition."""

_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ")  # a name of 72 bytes follows

HEADER_SIZE = _HEADER.size
SMALLEST_ENTRY = _ENTRY.size
ENTRY_SIZE = SMALLEST_ENTRY + 72


class Header(NamedTuple):
    """A header, in the order of the disk; `size` is its own in bytes, `guid` is little-endian."""

    signature: bytes
    revision: int
    size: int
    checksum: int
    reserved: int
    own: int
    alternate: int
    first_usable: int
    last_usable: int
    guid: bytes
    entries_at: int
    entry_count: int
    entry_size: int
    entries_checksum: int

    def is_sound(self, raw: bytes) -> bool:
        """Whether the checksum is that of the sector `raw` which the header was read from."""
        return zlib.crc32(raw[:16] + bytes(4) + raw[20 : self.size]) == self.checksum

    def packed(self) -> bytes:
        """The bytes, with the right checksum."""
        blank = _HEADER.pack(*self._replace(checksum=0)).ljust(self.size, b"\0")
        return _HEADER.pack(*self._replace(checksum=zlib.crc32(blank))).ljust(self.size, b"\0")


def read_header(sector: bytes) -> Header:
    """The header in a sector of at least HEADER_SIZE bytes; nothing of it is checked."""
    return Header(*_HEADER.unpack_from(sector))


class Entry(NamedTuple):
    """A partition; `type` and `guid` are little-endian, `last` is its last sector."""

    type: bytes
    guid: bytes
    first: int
    last: int
    attributes: int = 0
    name: str = ""

    def packed(self) -> bytes:
        return (_ENTRY.pack(*self[:5]) + self.name.encode("utf-16-le")).ljust(ENTRY_SIZE, b"\0")


def read_entry(raw: bytes) -> Entry:
    """An entry of at least SMALLEST_ENTRY bytes, without its name."""
    return Entry(*_ENTRY.unpack_from(raw))
