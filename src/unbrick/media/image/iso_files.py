"""Finds files of the top folder of a CD image, to read them in place (ECMA-119, sections 8.4 and 9.1)."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from unbrick.errors import FailedError

_SECTOR = 2048
_DESCRIPTOR = 16 * _SECTOR
_ROOT_RECORD = 156
_MOST_FOLDER = 64 * _SECTOR


class IsoError(FailedError):
    """Bytes that are no CD image of a medium."""


@dataclass(frozen=True)
class IsoFile:
    """Where a file is, in bytes."""

    offset: int
    size: int


def find_files(read: Callable[[int, int], bytes]) -> dict[str, IsoFile]:
    """The plain files of the top folder, by name in lower case; `read(offset, length)` reads the image."""
    descriptor = read(_DESCRIPTOR, _SECTOR)
    if len(descriptor) < _SECTOR or descriptor[:7] != b"\x01CD001\x01":
        raise IsoError("no image of a medium")
    start, length = _place(descriptor, _ROOT_RECORD)
    if not 0 < length <= _MOST_FOLDER:
        raise IsoError("the image's top folder is damaged")
    folder = read(start, length)
    found = {}
    at = 0
    while at < len(folder):
        size = folder[at]
        if size == 0:  # records do not cross sectors
            at += _SECTOR - at % _SECTOR
            continue
        if size < 34 or at + size > len(folder):
            raise IsoError("the image's top folder is damaged")
        offset, content = _place(folder, at)
        name = folder[at + 33 : at + 33 + folder[at + 32]]
        if not folder[at + 25] & 2:
            found[name.decode("ascii", errors="replace").partition(";")[0].rstrip(".").lower()] = IsoFile(
                offset, content
            )
        at += size
    return found


def _place(data: bytes, at: int) -> tuple[int, int]:
    try:
        (sector,) = struct.unpack_from("<I", data, at + 2)
        (size,) = struct.unpack_from("<I", data, at + 10)
    except struct.error as error:
        raise IsoError("the image's top folder is damaged") from error
    return sector * _SECTOR, size
