"""The names of keys and values, read from a hive's own bytes.

hivex converts names to UTF-8 and gives up at one that is no valid UTF-16, which Windows allows; one such name
would hide all others of its list. Offsets: M. Suhanov's "Windows registry file format specification".
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass


@dataclass(frozen=True)
class CellShape:
    """Where a kind of cell keeps its name, in bytes from the cell's size field."""

    signature: bytes
    length_at: int
    flags_at: int
    latin_flag: int
    name_at: int


KEY_CELL = CellShape(b"nk", length_at=76, flags_at=6, latin_flag=0x20, name_at=80)
VALUE_CELL = CellShape(b"vk", length_at=6, flags_at=20, latin_flag=0x01, name_at=24)

_USUAL_NAME = 512


def read_name(descriptor: int, offset: int, shape: CellShape) -> str | None:
    """The name in the cell at an offset (hivex's handle), with U+FFFD for what is no text.

    None where there is no such cell, or its name reaches beyond it. Raises OSError.
    """
    cell = os.pread(descriptor, shape.name_at + _USUAL_NAME, offset)
    if len(cell) < shape.name_at or cell[4:6] != shape.signature:
        return None
    (size,) = struct.unpack_from("<i", cell)  # negative for a cell in use
    (length,) = struct.unpack_from("<H", cell, shape.length_at)
    (flags,) = struct.unpack_from("<H", cell, shape.flags_at)
    if shape.name_at + length > -size:
        return None
    name = cell[shape.name_at : shape.name_at + length]
    if len(name) < length:
        name = os.pread(descriptor, length, offset + shape.name_at)
    return name.decode("latin-1" if flags & shape.latin_flag else "utf-16-le", errors="replace")


def same_name(one: str, other: str) -> bool:
    """Whether two names are one to Windows, as far as ASCII letters go."""
    if one == other:
        return True
    return one.isascii() and other.isascii() and one.lower() == other.lower()
