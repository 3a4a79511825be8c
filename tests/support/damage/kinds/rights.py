"""Damage to `$Secure` (its stream of access rights and both indexes), `$Volume`, `$UpCase` and `$AttrDef`."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import (
    Damage,
    flip_bits,
    hurt_attribute,
    hurt_record,
    hurt_runs,
    random_field,
)
from support.damage.ntfs_bytes import (
    ATTRIBUTE_DEFINITIONS,
    BITMAP,
    DATA,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    SECURE,
    UPPER_CASE,
    VOLUME,
    VOLUME_INFORMATION,
    NotHereError,
    NtfsBytes,
    protected,
    unprotected,
)

_ENTRY = {"hash": (0, 4), "id": (4, 4), "place": (8, 8), "length": (16, 4)}
_COPY = 0x40000


def _stream_runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, SECURE, DATA, rng, "$SDS")


def _stream_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, SECURE, DATA, rng, "$SDS")


def _stream_content(volume: NtfsBytes, rng: random.Random) -> str:
    runs = tuple(volume.runs(SECURE, DATA, "$SDS"))
    at = volume.place_in(runs, rng.choice((0, _COPY)))
    if rng.random() < 0.5:
        return "$SDS: " + flip_bits(volume, at, 0x800, rng)
    head = bytearray(volume.data[at : at + 0x1000])
    entry = rng.choice([0, 0x80, 0x100, 0x180])
    said = random_field(head, rng, _ENTRY, entry)
    volume.data[at : at + 0x1000] = bytes(head)
    return f"$SDS entry at {entry:#x}: {said}"


def _stream_cut_short(volume: NtfsBytes, rng: random.Random) -> str:
    """The stream ends before its last sets of rights: the next that is made would lie over them."""
    record = volume.read(SECURE)
    stream = volume.find(record, DATA, "$SDS")
    content = volume.content(SECURE, DATA, "$SDS")
    ends, at = [], 0
    while at + 20 <= len(content) and (length := struct.unpack_from("<I", content, at + 16)[0]) >= 20:
        at = at + length + 15 & ~15
        ends.append(at)
    if len(ends) < 3:
        raise NotHereError("few rights")
    size = _COPY + rng.choice(ends[:-1])
    fields = rng.choice(((48, 56), (56,)))
    for field in fields:
        struct.pack_into("<Q", record, stream.at + field, size)
    volume.write(SECURE, record)
    return f"$SDS ends at {size:#x}, not at {_COPY + ends[-1]:#x}, by its fields {fields}"


def _newest_forgotten(volume: NtfsBytes, rng: random.Random) -> str:
    """An index lists the last sets of rights no more: the place of the next is found by it."""
    name = rng.choice(("$SII", "$SII", "$SDH"))
    record = volume.read(SECURE)
    try:
        start, _ = volume.runs(SECURE, INDEX_ALLOCATION, name)[-1]
    except NotHereError:
        start = None
    if start is None:
        root = volume.find(record, INDEX_ROOT, name)
        said = _drop_entries(record, root.value_at + 16, rng)
        volume.write(SECURE, record)
    else:
        at = start * volume.cluster
        block = unprotected(bytes(volume.data[at : at + 4096]))
        if block is None:
            raise NotHereError("no block")
        said = _drop_entries(block, 24, rng)
        volume.data[at : at + len(block)] = protected(block)
    return f"{name}: {said}"


def _drop_entries(node: bytearray, head: int, rng: random.Random) -> str:
    """Put a node's end mark where one of its last entries is."""
    first, end = struct.unpack_from("<II", node, head)
    at, entries = head + first, []
    while at < head + end and not struct.unpack_from("<H", node, at + 12)[0] & 2:
        entries.append(at)
        at += max(struct.unpack_from("<H", node, at + 8)[0], 16)
    if len(entries) < 3 or struct.unpack_from("<H", node, at + 12)[0] & 1:
        raise NotHereError("no leaf with entries")
    length = struct.unpack_from("<H", node, at + 8)[0]
    count = rng.randrange(1, len(entries) - 1)
    place = entries[-count]
    node[place : place + length] = node[at : at + length]
    struct.pack_into("<I", node, head + 4, place + length - head)
    return f"its last {count} entries of {len(entries)} are gone"


def _index(volume: NtfsBytes, rng: random.Random) -> str:
    name = rng.choice(("$SII", "$SDH"))
    record = volume.read(SECURE)
    attribute = volume.find(record, INDEX_ROOT, name)
    at = attribute.value_at + rng.randrange(attribute.size)
    record[at] ^= 1 << rng.randrange(8)
    volume.write(SECURE, record)
    return f"a bit of {name}'s root, byte {at - attribute.value_at}"


def _index_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    kind = rng.choice((INDEX_ROOT, INDEX_ALLOCATION, BITMAP))
    return hurt_attribute(volume, SECURE, kind, rng, rng.choice(("$SII", "$SDH")))


def _index_runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, SECURE, INDEX_ALLOCATION, rng, rng.choice(("$SII", "$SDH")))


def _secure_record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, SECURE, rng)


def _volume_record(volume: NtfsBytes, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return hurt_record(volume, VOLUME, rng)
    record = volume.read(VOLUME)
    attribute = volume.find(record, VOLUME_INFORMATION)
    said = random_field(record, rng, {"major": (8, 1), "minor": (9, 1), "flags": (10, 2)}, attribute.value_at)
    volume.write(VOLUME, record)
    if rng.random() < 0.7:
        mirror = volume.mirror_cluster * volume.cluster + VOLUME * volume.record
        place = volume.place(VOLUME)
        volume.data[mirror : mirror + volume.record] = bytes(volume.data[place : place + volume.record])
    return f"$Volume: {said}"


def _upper_case(volume: NtfsBytes, rng: random.Random) -> str:
    number = rng.choice((UPPER_CASE, UPPER_CASE, ATTRIBUTE_DEFINITIONS))
    if rng.random() < 0.4:
        return hurt_runs(volume, number, DATA, rng)
    if rng.random() < 0.3:
        return hurt_attribute(volume, number, DATA, rng)
    start, _ = volume.runs(number, DATA)[0]
    assert start is not None
    return f"file {number}: " + flip_bits(volume, start * volume.cluster, 0x300, rng)


KINDS: dict[str, Damage] = {
    "stream's runs": _stream_runs,
    "stream's attribute": _stream_attribute,
    "stream": _stream_content,
    "index": _index,
    "index's attribute": _index_attribute,
    "index's runs": _index_runs,
    "$Secure": _secure_record,
    "$Volume": _volume_record,
    "$UpCase": _upper_case,
    "cut short": _stream_cut_short,
    "newest forgotten": _newest_forgotten,
}
