"""The entries of an index, in its order: what a folder lists, or how `$Secure` finds its descriptors.

Walks the tree from its root, as every driver does, and not all of its blocks. The layout is that of the
Linux-NTFS project's documentation (`$INDEX_ROOT`, `$INDEX_ALLOCATION`). Hostile input.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from unbrick.disks.ntfs.file_table import FileTable, Name, open_stream, parse_name
from unbrick.disks.ntfs.recognise import index_block_size
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import INDEX_ALLOCATION, INDEX_ROOT, REFERENCE, damaged, unprotect
from unbrick.errors import NeedsHandsError

_OF_A_FOLDER = "$I30"
_SECTOR = 512
_HEADER_IN_ROOT, _HEADER_IN_BLOCK = 0x10, 0x18
_ENTRY = struct.Struct("<QHHH")
_ENTRY_HEAD = 16
_HAS_BLOCK, _IS_LAST = 1, 2
_MOST_BLOCKS = 1 << 18  # of 4 KiB: a folder of ten million names
_DEEPEST = 32


@dataclass(frozen=True)
class IndexEntry:
    """One entry: the bytes before its key (in a folder: the reference to a file), and the rest."""

    head: bytes
    rest: bytes

    @property
    def record(self) -> int:
        """In a folder: the record of the file that it lists."""
        return int.from_bytes(self.head, "little") & REFERENCE

    @property
    def name(self) -> Name:
        """In a folder: the file's name; raises NeedsHandsError (damaged-volume)."""
        return parse_name(self.rest)


def read_entries(table: FileTable, number: int, name: str) -> list[IndexEntry]:
    """All entries of a file's index; none where it has no such index.

    Raises NeedsHandsError (damaged-volume), OSError.
    """
    root = table.find_attribute(number, INDEX_ROOT, name)
    if root is None or root.value is None:
        return []
    blocks = table.find_attribute(number, INDEX_ALLOCATION, name)
    stream = open_stream(table.view, blocks) if blocks is not None and blocks.value is None else None
    size, cluster = index_block_size(table, number, name), table.geometry.cluster
    tree = _Tree(number, stream, size, cluster, name == _OF_A_FOLDER)
    return list(tree.walk(root.value, _HEADER_IN_ROOT, 0))


@dataclass(frozen=True)
class _Tree:
    number: int
    blocks: Stream | None
    size: int
    cluster: int
    is_folder: bool  # its entries then end in their key; what follows up to a multiple of eight says nothing
    seen: set[int] = field(default_factory=set)

    def walk(self, node: bytes, header: int, depth: int) -> Iterator[IndexEntry]:
        if depth > _DEEPEST or header + 8 > len(node):
            raise self._wrong()
        first, end = struct.unpack_from("<II", node, header)
        at, end = header + first, min(header + end, len(node))
        while True:
            if at + _ENTRY_HEAD > end:
                raise self._wrong()
            reference, length, key_length, flags = _ENTRY.unpack_from(node, at)
            below = 8 if flags & _HAS_BLOCK else 0
            if length < _ENTRY_HEAD + below or at + length > end or _ENTRY_HEAD + key_length > length - below:
                raise self._wrong()
            if below:
                (block,) = struct.unpack_from("<Q", node, at + length - 8)
                yield from self.walk(self._block(block), _HEADER_IN_BLOCK, depth + 1)
            if flags & _IS_LAST:
                return
            rest = node[at + _ENTRY_HEAD : at + length - below]
            yield IndexEntry(reference.to_bytes(8, "little"), rest[:key_length] if self.is_folder else rest)
            at += length

    def _block(self, number: int) -> bytes:
        # A block is counted in clusters, or in sectors where it is smaller than one.
        position = number * (self.cluster if self.cluster <= self.size else _SECTOR)
        if position in self.seen or len(self.seen) > _MOST_BLOCKS or self.blocks is None:
            raise self._wrong()
        self.seen.add(position)
        block = unprotect(self.blocks.read(position, self.size), b"INDX")
        if block is None or struct.unpack_from("<Q", block, 0x10)[0] != number:
            raise self._wrong()
        return block

    def _wrong(self) -> NeedsHandsError:
        return damaged(
            f"the list of a folder, or an index of its own, contradicts itself (record {self.number})"
        )
