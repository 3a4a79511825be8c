"""Makes registry hives: an empty one in our own bytes, filled by hivex.

hivex adds keys and values but makes no hive, and Debian ships no empty one. The empty hive (base block, one
bin, a root key, its security cell) follows the public description of the regf format, version 1.5.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from unbrick.drill.contents.security import ADMINISTRATORS, SYSTEM, Grant, Protection
from unbrick.windows.hive import load_hivex

_BLOCK = 4096
_KEY_ALL_ACCESS = 0xF003F
_NOTHING = 0xFFFFFFFF


@dataclass(frozen=True)
class RegistryValue:
    """A value: the type number of winnt.h (`REG_SZ` = 1 and so on) and its bytes."""

    kind: int
    data: bytes


RegistryTree: TypeAlias = Mapping[str, "RegistryValue | RegistryTree"]


def text(value: str) -> RegistryValue:
    """REG_SZ."""
    return RegistryValue(1, (value + "\0").encode("utf-16-le"))


def expandable(value: str) -> RegistryValue:
    """REG_EXPAND_SZ."""
    return RegistryValue(2, (value + "\0").encode("utf-16-le"))


def binary(value: bytes) -> RegistryValue:
    """REG_BINARY."""
    return RegistryValue(3, value)


def number(value: int) -> RegistryValue:
    """REG_DWORD."""
    return RegistryValue(4, struct.pack("<I", value))


def several(*values: str) -> RegistryValue:
    """REG_MULTI_SZ."""
    return RegistryValue(7, "".join(value + "\0" for value in (*values, "")).encode("utf-16-le"))


def _put_cell(hive_bin: bytearray, offset: int, content: bytes) -> int:
    """Write an allocated cell and return where the next one begins."""
    length = (len(content) + 4 + 7) // 8 * 8
    struct.pack_into("<i", hive_bin, offset, -length)
    hive_bin[offset + 4 : offset + 4 + len(content)] = content
    return offset + length


def _root_key(name: str, security_cell: int, written: int) -> bytes:
    flags = 0x2C  # root of a hive, cannot be deleted, name in Latin-1
    encoded = name.encode("latin-1")
    return (
        struct.pack("<2sHQII", b"nk", flags, written, 0, _NOTHING)
        + struct.pack("<IIIIII", 0, 0, _NOTHING, _NOTHING, 0, _NOTHING)
        + struct.pack("<IIIIIII", security_cell, _NOTHING, 0, 0, 0, 0, 0)
        + struct.pack("<HH", len(encoded), 0)
        + encoded
    )


def empty_hive(root_name: str, file_name: str, written: int) -> bytes:
    """A clean hive with a root key only; Windows stores the end of `file_name`. `written` is a FILETIME."""
    grants = (Grant(SYSTEM, _KEY_ALL_ACCESS), Grant(ADMINISTRATORS, _KEY_ALL_ACCESS))
    rights = Protection(ADMINISTRATORS, grants).descriptor(folder=True)
    hive_bin = bytearray(_BLOCK)
    struct.pack_into("<4sIIQQI", hive_bin, 0, b"hbin", 0, _BLOCK, 0, written, 0)
    root_cell = 32
    security_cell = _put_cell(hive_bin, root_cell, _root_key(root_name, 0, written))
    _put_cell(hive_bin, root_cell, _root_key(root_name, security_cell, written))
    security = struct.pack("<2sHIIII", b"sk", 0, security_cell, security_cell, 1, len(rights)) + rights
    free = _put_cell(hive_bin, security_cell, security)
    struct.pack_into("<i", hive_bin, free, _BLOCK - free)

    base = bytearray(_BLOCK)
    struct.pack_into("<4sIIQ", base, 0, b"regf", 1, 1, written)
    struct.pack_into("<IIIIIII", base, 20, 1, 5, 0, 1, root_cell, _BLOCK, 1)
    base[48:110] = file_name[-31:].encode("utf-16-le").ljust(62, b"\0")
    checksum = 0
    for (word,) in struct.iter_unpack("<I", base[:508]):
        checksum ^= word
    struct.pack_into("<I", base, 508, checksum)
    return bytes(base + hive_bin)


def _add(hive: Any, node: int, tree: RegistryTree) -> None:
    values = [
        {"key": name, "t": entry.kind, "value": entry.data}
        for name, entry in tree.items()
        if isinstance(entry, RegistryValue)
    ]
    if values:
        hive.node_set_values(node, values)
    for name, entry in tree.items():
        if not isinstance(entry, RegistryValue):
            _add(hive, hive.node_add_child(node, name), entry)


def make_hive(tree: RegistryTree, *, file_name: str, written: int, workdir: Path) -> bytes:
    """A clean hive with `tree`; the same tree gives the same bytes. Raises MissingLibraryError."""
    hivex = load_hivex()
    scratch = workdir / "making.hive"
    scratch.write_bytes(empty_hive("ROOT", file_name, written))
    try:
        hive: Any = hivex(str(scratch), write=True)
        _add(hive, hive.root(), tree)
        hive.commit(str(scratch))
        return scratch.read_bytes()
    finally:
        scratch.unlink()
