"""Which libraries a program needs, read from its ELF dynamic section (System V ABI, chapter 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from unbrick.errors import FailedError

_MAGIC = b"\x7fELF\x02\x01"  # 64 bits, little-endian
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRINGS, _RPATH, _RUNPATH = 1, 5, 15, 29
_PROGRAM_HEADER = struct.Struct("<IIQQQQQQ")
_DYNAMIC_ENTRY = struct.Struct("<QQ")
_MOST_HEADERS = 128


@dataclass(frozen=True)
class Needs:
    """Names of libraries, the folders to look for them in first, and the loader."""

    libraries: tuple[str, ...]
    folders: tuple[str, ...]
    loader: str | None


@dataclass(frozen=True)
class _Segment:
    kind: int
    offset: int
    address: int
    length: int


def read_needs(data: bytes) -> Needs | None:
    """What a 64-bit ELF file needs; None for other bytes. Raises FailedError."""
    if not data.startswith(_MAGIC):
        return None
    try:
        segments = _segments(data)
        loader = [_bytes(data, part).rstrip(b"\0").decode() for part in segments if part.kind == _INTERPRETER]
        entries = [
            entry for part in segments if part.kind == _DYNAMIC for entry in _dynamic(_bytes(data, part))
        ]
        strings = next((value for tag, value in entries if tag == _STRINGS), None)
        names = {
            tag: [_string(data, segments, strings, value) for key, value in entries if key == tag]
            for tag in (_NEEDED, _RPATH, _RUNPATH)
        }
    except (struct.error, UnicodeDecodeError, ValueError) as error:
        raise FailedError(f"not a whole program file: {error}") from error
    folders = ":".join([*names[_RUNPATH], *names[_RPATH]])
    return Needs(
        tuple(names[_NEEDED]), tuple(filter(None, folders.split(":"))), loader[0] if loader else None
    )


def _segments(data: bytes) -> list[_Segment]:
    (start,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    if count > _MOST_HEADERS or size < _PROGRAM_HEADER.size:
        raise ValueError("too many program headers")
    found = []
    for index in range(count):
        kind, _, offset, address, _, length, _, _ = _PROGRAM_HEADER.unpack_from(data, start + index * size)
        found.append(_Segment(kind, offset, address, length))
    return found


def _bytes(data: bytes, part: _Segment) -> bytes:
    if part.offset + part.length > len(data):
        raise ValueError("cut short")
    return data[part.offset : part.offset + part.length]


def _dynamic(data: bytes) -> list[tuple[int, int]]:
    whole = len(data) - len(data) % _DYNAMIC_ENTRY.size
    return list(_DYNAMIC_ENTRY.iter_unpack(data[:whole]))


def _string(data: bytes, segments: list[_Segment], strings: int | None, index: int) -> str:
    if strings is None:
        raise ValueError("names without a table of names")
    address = strings + index
    for part in segments:
        if part.kind == _LOAD and part.address <= address < part.address + part.length:
            at = part.offset + address - part.address
            return data[at : data.index(b"\0", at)].decode()
    raise ValueError("a name outside the file")
