"""Small registry hives and transaction logs made on the spot, and real ones unpacked."""

from __future__ import annotations

import lzma
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.artefacts import artefact

from unbrick.windows.hive import Hive
from unbrick.windows.replay import marvin32, xor_checksum

SZ, EXPAND_SZ, BINARY, DWORD, MULTI_SZ = 1, 2, 3, 4, 7
Value = str | int | list[str] | bytes
Tree = Mapping[str, Any]
"""Keys by name: a mapping is a subkey, anything else a value."""

_BINS_SIZE = 4096
_NONE = 0xFFFFFFFF


def unpacked(name: str) -> bytes:
    """A real hive or log, e.g. `regipy_SYSTEM`; those of regipy are kept packed."""
    if name.startswith("regipy_"):
        return lzma.decompress(artefact(f"hives/{name}.xz").read_bytes())
    return artefact(f"hives/{name}").read_bytes()


def base_block(
    *, sequences: tuple[int, int] = (1, 1), file_type: int = 0, bins_size: int = _BINS_SIZE, written: int = 0
) -> bytes:
    """The first 512 bytes of a hive or log."""
    block = bytearray(512)
    struct.pack_into("<4sIIQ", block, 0, b"regf", *sequences, written)
    struct.pack_into("<IIIIIII", block, 20, 1, 5, file_type, 1, 0x20, bins_size, 1)
    struct.pack_into("<I", block, 508, xor_checksum(block))
    return bytes(block)


def empty_hive() -> bytes:
    """A hive with a root key and nothing in it, as hivex takes it to write to."""
    descriptor = bytes.fromhex("010004801400000024000000000000003400000001020000000000052000000020020000")
    descriptor = descriptor.ljust(72, b"\0")
    root = struct.pack("<2sHQII", b"nk", 0x2C, 0, 0, _NONE)
    root += struct.pack("<IIIIIIII", 0, 0, _NONE, _NONE, 0, _NONE, 0x80, _NONE)
    root += struct.pack("<IIIIIHH4s", 0, 0, 0, 0, 0, 4, 0, b"ROOT")
    security = struct.pack("<2sHIIII", b"sk", 0, 0x80, 0x80, 1, len(descriptor)) + descriptor
    page = bytearray(_BINS_SIZE)
    struct.pack_into("<4sII", page, 0, b"hbin", 0, _BINS_SIZE)
    struct.pack_into("<i", page, 0x20, -0x60)
    page[0x24 : 0x24 + len(root)] = root
    struct.pack_into("<i", page, 0x80, -0x80)
    page[0x84 : 0x84 + len(security)] = security
    struct.pack_into("<i", page, 0x100, _BINS_SIZE - 0x100)
    return base_block().ljust(4096, b"\0") + bytes(page)


def _encoded(name: str, value: Value) -> dict[str, Any]:
    if isinstance(value, bytes):
        return {"key": name, "t": BINARY, "value": value}
    if isinstance(value, int):
        return {"key": name, "t": DWORD, "value": struct.pack("<I", value)}
    if isinstance(value, list):
        text = "".join(part + "\0" for part in value) + "\0"
        return {"key": name, "t": MULTI_SZ, "value": text.encode("utf-16-le")}
    kind = EXPAND_SZ if "%" in value else SZ
    return {"key": name, "t": kind, "value": (value + "\0").encode("utf-16-le", "surrogatepass")}


def write_hive(path: Path, tree: Tree) -> Path:
    """Make a hive with those keys and values, by hivex."""
    import hivex

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(empty_hive())
    untyped: Any = hivex
    hive = untyped.Hivex(str(path), write=True)
    waiting = [(hive.root(), tree)]
    while waiting:
        node, content = waiting.pop()
        for name, item in content.items():
            if isinstance(item, Mapping):
                waiting.append((hive.node_add_child(node, name), item))
            else:
                hive.node_set_value(node, _encoded(name, item))
    hive.commit(None)
    return path


def make_dirty(hive: bytes) -> bytes:
    """The hive as a crash leaves it: its first sequence number one ahead of its second."""
    block = bytearray(hive[:512])
    second = struct.unpack_from("<I", block, 8)[0]
    struct.pack_into("<I", block, 4, second + 1)
    struct.pack_into("<I", block, 508, xor_checksum(block))
    return bytes(block) + hive[512:]


def log_entry(sequence: int, bins_size: int, pages: Sequence[tuple[int, bytes]]) -> bytes:
    """One `HvLE` entry; pages are (offset from the start of the bins, bytes)."""
    body = b"".join(struct.pack("<II", offset, len(page)) for offset, page in pages)
    body += b"".join(page for _, page in pages)
    size = -(-(40 + len(body)) // 512) * 512
    body = body.ljust(size - 40, b"\0")
    head = struct.pack("<4sIIIIIQ", b"HvLE", size, 0, sequence, bins_size, len(pages), marvin32(body))
    return head + struct.pack("<Q", marvin32(head)) + body


def new_log(first_sequence: int, bins_size: int, entries: Sequence[Sequence[tuple[int, bytes]]]) -> bytes:
    """A log of the new format, its entries numbered from `first_sequence`."""
    head = base_block(sequences=(first_sequence, first_sequence), file_type=6, bins_size=bins_size)
    return head + b"".join(
        log_entry(first_sequence + index, bins_size, pages) for index, pages in enumerate(entries)
    )


def changed_pages(before: bytes, after: bytes) -> list[tuple[int, bytes]]:
    """The 4096-byte pages of `after`'s bins that differ, as a log holds them."""
    return [
        (offset - 4096, after[offset : offset + 4096])
        for offset in range(4096, len(after), 4096)
        if before[offset : offset + 4096] != after[offset : offset + 4096]
    ]


def subkeys(hive: Hive, path: str) -> tuple[str, ...]:
    """The names of a key's subkeys; empty where there is no such key."""
    key = hive.key(path)
    return tuple(name for name, _ in key.children()) if key else ()
