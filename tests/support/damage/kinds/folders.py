"""Damage to folders: index blocks and their entries, the index's bitmap, where the blocks lie."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import (
    FOLDERS,
    Damage,
    flip_bits,
    hurt_attribute,
    hurt_record,
    hurt_runs,
    random_field,
)
from support.damage.ntfs_bytes import (
    BITMAP,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    ROOT,
    NotHereError,
    NtfsBytes,
    protected,
    unprotected,
)

_BLOCK = 4096
_BLOCK_FIELDS = {
    "magic": (0, 4),
    "log number": (8, 8),
    "VCN": (16, 8),
    "first entry": (24, 4),
    "entries' length": (28, 4),
    "allocated": (32, 4),
    "flags": (36, 1),
}
_ENTRY_FIELDS = {
    "reference": (0, 6),
    "sequence": (6, 2),
    "length": (8, 2),
    "key's length": (10, 2),
    "flags": (12, 2),
    "parent": (16, 6),
    "allocated": (56, 8),
    "size": (64, 8),
    "name's length": (80, 1),
    "name's kind": (81, 1),
    "name": (82, 2),
}


def _some_folder(volume: NtfsBytes, rng: random.Random) -> int:
    """The root, one on the way to the fault, the quarantine."""
    if rng.random() < 0.25:
        return ROOT
    return volume.find_record(rng.choice(FOLDERS))


def _entries(block: bytearray, first: int) -> list[int]:
    (start, end) = struct.unpack_from("<II", block, first)
    at, found = first + start, []
    while at + 16 <= min(first + end, len(block)):
        found.append(at)
        (length,) = struct.unpack_from("<H", block, at + 8)
        if length < 16:
            break
        at += length
    return found


def _block(volume: NtfsBytes, rng: random.Random) -> str:
    number = _some_folder(volume, rng)
    at = rng.choice(volume.index_blocks(number) or [-1])
    if at < 0:
        raise NotHereError("no index block")
    block = unprotected(bytes(volume.data[at : at + _BLOCK]))
    if block is None:
        raise NotHereError("no index block")
    if rng.random() < 0.5:
        said = random_field(block, rng, _BLOCK_FIELDS)
    else:
        entry = rng.choice(_entries(block, 24) or [24])
        said = "entry: " + random_field(block, rng, _ENTRY_FIELDS, entry)
    volume.data[at : at + _BLOCK] = protected(block)
    return f"index block of folder {number}: {said}"


def _child(volume: NtfsBytes, rng: random.Random) -> str:
    """An entry leads to another block than its own, in the folder's record or in a block."""
    number = _some_folder(volume, rng)
    record = volume.read(number)
    root = volume.find(record, INDEX_ROOT, "$I30")
    entries = [at for at in _entries(record, root.value_at + 16) if record[at + 12] & 1]
    if not entries:
        raise NotHereError("no child")
    at = rng.choice(entries)
    (length,) = struct.unpack_from("<H", record, at + 8)
    child = rng.choice((0, 1, 2, 3, rng.randrange(1 << 20)))
    struct.pack_into("<Q", record, at + length - 8, child)
    volume.write(number, record)
    return f"folder {number}: an entry leads to block {child}"


def _reference(volume: NtfsBytes, rng: random.Random) -> str:
    """An entry leads to another file."""
    number = _some_folder(volume, rng)
    record = volume.read(number)
    root = volume.find(record, INDEX_ROOT, "$I30")
    entries = [at for at in _entries(record, root.value_at + 16) if not record[at + 12] & 2]
    other = rng.choice([one for one, _ in volume.in_use()])
    whole = struct.pack("<Q", other | struct.unpack_from("<H", volume.read(other), 0x10)[0] << 48)
    if entries:
        at = rng.choice(entries)
        record[at : at + 8] = whole
        volume.write(number, record)
        return f"folder {number}: an entry in its record leads to file {other}"
    at = rng.choice(volume.index_blocks(number))
    block = unprotected(bytes(volume.data[at : at + _BLOCK]))
    inside = _entries(block, 24) if block else []
    if block is None or not inside:
        raise NotHereError("no entry")
    entry = rng.choice(inside)
    block[entry : entry + 8] = whole
    volume.data[at : at + _BLOCK] = protected(block)
    return f"folder {number}: an entry in a block leads to file {other}"


def _root_bits(volume: NtfsBytes, rng: random.Random) -> str:
    number = _some_folder(volume, rng)
    record = volume.read(number)
    root = volume.find(record, INDEX_ROOT, "$I30")
    at = root.value_at + rng.randrange(root.size)
    record[at] ^= 1 << rng.randrange(8)
    volume.write(number, record)
    return f"folder {number}: a bit of its index root, byte {at - root.value_at}"


def _bitmap(volume: NtfsBytes, rng: random.Random) -> str:
    """The index's bitmap calls blocks in use free, or the reverse."""
    number = _some_folder(volume, rng)
    record = volume.read(number)
    bitmap = volume.find(record, BITMAP, "$I30")
    if not bitmap.resident:
        return hurt_runs(volume, number, BITMAP, rng, "$I30")
    value = rng.choice((0, 0xFF, record[bitmap.value_at] ^ 1 << rng.randrange(8)))
    record[bitmap.value_at] = value
    volume.write(number, record)
    return f"folder {number}: its index's bitmap is {value:#x}"


def _block_free(volume: NtfsBytes, rng: random.Random) -> str:
    """A block in use is called free: the next that the folder needs is that one."""
    number = _some_folder(volume, rng)
    record = volume.read(number)
    bitmap = volume.find(record, BITMAP, "$I30")
    used = [bit for bit in range(8) if record[bitmap.value_at] >> bit & 1] if bitmap.resident else []
    if len(used) < 2:
        raise NotHereError("no blocks")
    block = rng.choice(used)
    record[bitmap.value_at] &= ~(1 << block)
    volume.write(number, record)
    return f"folder {number}: its block {block} of {len(used)} is called free"


def _runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, _some_folder(volume, rng), INDEX_ALLOCATION, rng)


def _attribute(volume: NtfsBytes, rng: random.Random) -> str:
    kind = rng.choice((INDEX_ROOT, INDEX_ALLOCATION, INDEX_ALLOCATION, BITMAP))
    return hurt_attribute(volume, _some_folder(volume, rng), kind, rng)


def _record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, _some_folder(volume, rng), rng)


def _bits(volume: NtfsBytes, rng: random.Random) -> str:
    number = _some_folder(volume, rng)
    blocks = volume.index_blocks(number)
    if not blocks:
        raise NotHereError("no index block")
    return f"index of folder {number}: " + flip_bits(volume, rng.choice(blocks), _BLOCK, rng)


def _other_block(volume: NtfsBytes, rng: random.Random) -> str:
    """A block of one folder lies where one of another should."""
    blocks = [at for one in (ROOT, *map(volume.find_record, FOLDERS[:3])) for at in _blocks(volume, one)]
    if len(blocks) < 2:
        raise NotHereError("too few index blocks")
    source, target = rng.sample(blocks, 2)
    volume.data[target : target + _BLOCK] = bytes(volume.data[source : source + _BLOCK])
    return f"the index block at {source:#x} lies at {target:#x}, too"


def _blocks(volume: NtfsBytes, number: int) -> list[int]:
    try:
        return volume.index_blocks(number)
    except NotHereError:
        return []


KINDS: dict[str, Damage] = {
    "block": _block,
    "child": _child,
    "reference": _reference,
    "root": _root_bits,
    "bitmap": _bitmap,
    "block free": _block_free,
    "runs": _runs,
    "attribute": _attribute,
    "record": _record,
    "bits": _bits,
    "other block": _other_block,
}
