"""The redo record: all that a change writes to a volume, in one piece that is valid whole or not at all.

It is written before the change itself. Where a power cut stops that, the next run writes it again: each
sector is then as before or as after, and no order or loss among the writes matters. Pure.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""
LONGEST_RUN_ID = 32

_MAGIC = b"UNBRICK REDO 2\r\n"
_OLDER_MAGIC = b"UNBRICK REDO 1\r\n"  # of the former bytes it has only digests
_HEAD = struct.Struct(f"<16sII?7x{LONGEST_RUN_ID}s32s32s")
_DIGEST = 16
_EXTENT = struct.Struct("<QI")
_LARGEST = 64 << 20  # the most memory that a forged one may take


@dataclass(frozen=True)
class Change:
    """Consecutive sectors from `offset` (bytes): the digest of each as it was, and their new bytes.

    `before` are the former bytes; None in a record of an older version, which kept only digests.
    """

    offset: int
    former: tuple[bytes, ...]
    data: bytes
    before: bytes | None = None

    def sectors(self) -> Iterator[tuple[bytes, bytes]]:
        """Of each sector: the digest of its former bytes, and its new bytes."""
        for index, former in enumerate(self.former):
            yield former, self.data[index * SECTOR : (index + 1) * SECTOR]


@dataclass(frozen=True)
class Redo:
    """A change of a volume. `run` is the id of the run it belongs to, or empty.

    `dirty_after` is the volume's dirty flag when everything is done.
    """

    run: str
    dirty_after: bool
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Head:
    """The first sector of a record; `length` is that of everything after it, in bytes.

    `context` is the digest of what must be as it was when the record was written. `older`: written by an
    older version.
    """

    older: bool
    run: str
    dirty_after: bool
    length: int
    unpacked: int
    digest: bytes
    context: bytes


def digest_of(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()[:_DIGEST]


def compare(offset: int, former: bytes, data: bytes) -> Iterator[Change]:
    """The sectors from `offset` in which `data` differs from `former`, in as few changes as possible."""
    if former == data:
        return
    start = None
    for at in range(0, len(data) + SECTOR, SECTOR):
        differs = at < len(data) and data[at : at + SECTOR] != former[at : at + SECTOR]
        if differs and start is None:
            start = at
        elif not differs and start is not None:
            yield change_of(offset + start, former[start:at], data[start:at])
            start = None


def change_of(offset: int, before: bytes, data: bytes) -> Change:
    """A change of whole sectors whose former bytes are known."""
    digests = tuple(digest_of(before[at : at + SECTOR]) for at in range(0, len(before), SECTOR))
    return Change(offset, digests, data, before)


def encode(redo: Redo, context: bytes) -> bytes:
    """The record in whole sectors, the head being the first."""
    older = any(change.before is None for change in redo.changes)
    parts = (
        _EXTENT.pack(c.offset, len(c.former))
        + (b"".join(c.former) if older or c.before is None else c.before)
        + c.data
        for c in redo.changes
    )
    return _seal(b"".join(parts), redo.run, redo.dirty_after, context, older=older)


def _seal(plain: bytes, run: str, dirty_after: bool, context: bytes, *, older: bool = False) -> bytes:
    body = zlib.compress(plain, 1)
    body = body.ljust(-(-len(body) // SECTOR) * SECTOR, b"\0")
    fields = (len(body), len(plain), dirty_after, run.encode("ascii"))
    head = _HEAD.pack(_OLDER_MAGIC if older else _MAGIC, *fields, context, hashlib.sha256(body).digest())
    return (head + hashlib.sha256(head).digest()).ljust(SECTOR, b"\0") + body


def decode_head(sector: bytes) -> Head | None:
    """The head in a sector; None where it is none, or half of one."""
    head = sector[: _HEAD.size]
    if len(sector) != SECTOR or sector[_HEAD.size : _HEAD.size + 32] != hashlib.sha256(head).digest():
        return None
    magic, length, unpacked, dirty_after, run, context, digest = _HEAD.unpack(head)
    name = run.rstrip(b"\0")
    if (
        magic not in (_MAGIC, _OLDER_MAGIC)
        or not name.isascii()
        or length % SECTOR
        or max(length, unpacked) > _LARGEST
    ):
        return None
    return Head(magic == _OLDER_MAGIC, name.decode(), dirty_after, length, unpacked, digest, context)


def decode(head: Head, body: bytes) -> Redo | None:
    """The record with its head's body; None where that is not whole, or no `encode` has written it."""
    if hashlib.sha256(body).digest() != head.digest:
        return None
    try:
        plain = zlib.decompressobj().decompress(body, head.unpacked + 1)
        changes = tuple(_read_changes(plain, older=head.older)) if len(plain) == head.unpacked else ()
    except (zlib.error, struct.error, ValueError):
        return None
    return Redo(head.run, head.dirty_after, changes) if changes and _is_ordered(changes) else None


def _read_changes(plain: bytes, *, older: bool) -> Iterator[Change]:
    """Raises struct.error or ValueError where it is cut short, before any number in it is used."""
    position = 0
    while position < len(plain):
        offset, count = _EXTENT.unpack_from(plain, position)
        known = position + _EXTENT.size
        data = known + count * (_DIGEST if older else SECTOR)
        position = data + count * SECTOR
        if not count or position > len(plain):
            raise ValueError("a change of no sector, or of more than there are")
        if older:
            former = tuple(plain[at : at + _DIGEST] for at in range(known, data, _DIGEST))
            yield Change(offset, former, plain[data:position])
        else:
            yield change_of(offset, plain[known:data], plain[data:position])


def _is_ordered(changes: Iterable[Change]) -> bool:
    end = 0
    for change in changes:
        length = len(change.former) * SECTOR
        if change.offset % SECTOR or change.offset < end or not length or len(change.data) != length:
            return False
        end = change.offset + length
    return True
