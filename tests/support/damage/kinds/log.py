"""Damage to `$LogFile`: where it lies, how long it is, and what is in it."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from support.damage.kinds.targets import (
    Damage,
    clusters_of_something,
    flip_bits,
    hurt_attribute,
    hurt_record,
    hurt_runs,
    random_field,
)
from support.damage.ntfs_bytes import DATA, LOG, NotHereError, NtfsBytes, protected, unprotected
from support.ntfs_states import restart_page

_PAGE = 4096
_RESTART_FIELDS = {
    "checked": (8, 8),
    "system page": (16, 4),
    "log page": (20, 4),
    "area's place": (24, 2),
    "minor": (26, 2),
    "major": (28, 2),
    "current": (48, 8),
    "clients": (56, 2),
    "free client": (58, 2),
    "client in use": (60, 2),
    "flags": (62, 2),
    "sequence bits": (64, 4),
    "area's length": (68, 2),
    "client's place": (70, 2),
    "file size": (72, 8),
    "head's length": (84, 2),
    "data's place": (86, 2),
    "oldest": (112, 8),
    "client's restart": (120, 8),
}
_OPERATIONS = (2, 5, 6, 7, 8, 9, 11, 14, 15, 18, 19, 21, 22, 37)
"""Redo operations that write: to records, indexes, the bitmaps, sizes, and file data."""
_RECORD_FIELDS = {
    "magic": (0, 4),
    "last": (8, 8),
    "flags": (16, 4),
    "count": (20, 2),
    "position": (22, 2),
    "next": (24, 2),
    "last end": (32, 8),
}


def _runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, LOG, DATA, rng)


def _all_elsewhere(volume: NtfsBytes, rng: random.Random) -> str:
    """One run somewhere else altogether, over whatever lies there."""
    count = sum(count for _, count in volume.runs(LOG, DATA))
    what, target = clusters_of_something(volume, rng)
    target = max(0, min(target, volume.clusters - count))
    volume.set_runs(LOG, DATA, [(target, count)])
    return f"all of the log is said to lie from cluster {target} on ({what})"


def _sizes(volume: NtfsBytes, rng: random.Random) -> str:
    record = volume.read(LOG)
    attribute = volume.find(record, DATA)
    field = rng.choice((24, 40, 48, 56))
    at = attribute.at + field
    (value,) = struct.unpack_from("<Q", record, at)
    struct.pack_into("<Q", record, at, value ^ 1 << rng.randrange(40))
    volume.write(LOG, record)
    return f"a bit of the log's field {field}"


def _attribute(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_attribute(volume, LOG, DATA, rng)


def _record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, LOG, rng)


def _restart_pages(volume: NtfsBytes, rng: random.Random) -> str:
    said = []
    for page in rng.choice(((0,), (1,), (0, 1))):
        at = volume.place_in(tuple(volume.runs(LOG, DATA)), page * _PAGE)
        block = unprotected(bytes(volume.data[at : at + _PAGE]))
        if block is None:
            raise NotHereError("no restart page")
        said.append(random_field(block, rng, _RESTART_FIELDS))
        volume.data[at : at + _PAGE] = protected(block)
    return f"restart page: {', '.join(said)}"


def _records(volume: NtfsBytes, rng: random.Random) -> str:
    """A page of records, hurt; where there is none, one that is made up."""
    runs = tuple(volume.runs(LOG, DATA))
    pages = sum(count for _, count in runs) * volume.cluster // _PAGE
    places = [volume.place_in(runs, page * _PAGE) for page in range(2, pages)]
    found = [at for at in places if volume.data[at : at + 4] == b"RCRD"]
    at = rng.choice(found or places)
    block = unprotected(bytes(volume.data[at : at + _PAGE]))
    if block is None:
        block = bytearray(_PAGE)
        number = rng.randrange(1 << 30)
        struct.pack_into("<4sHHQIHHH6xQ", block, 0, b"RCRD", 0x28, 9, number, 1, 1, 1, 0x60, number)
        block[0x60:] = rng.randbytes(_PAGE - 0x60)
    elif rng.random() < 0.5:
        said = random_field(block, rng, _RECORD_FIELDS)
        volume.data[at : at + _PAGE] = protected(block)
        return f"a page of log records: {said}"
    else:
        for _ in range(rng.randrange(1, 9)):
            block[rng.randrange(0x40, _PAGE)] = rng.randrange(256)
    volume.data[at : at + _PAGE] = protected(block)
    return "a page of log records holds nonsense"


def _newer_pages(volume: NtfsBytes, rng: random.Random) -> str:
    """A log of version 2.0, made up: restart pages, clean or not, and pages of records that look newest.

    The records in them lead, with a redo operation, to a file record or to clusters of something.
    """
    runs = tuple(volume.runs(LOG, DATA))
    size = sum(count for _, count in runs) * volume.cluster
    newest = rng.choice((0x4000, 0x40000, 1 << 40))
    page = restart_page(
        current=newest, oldest=newest - 0x1000, clean=rng.random() < 0.4, version=(2, 0), size=size
    )
    first = rng.choice((2, 2, 0x22))  # where version 2.0 keeps its newest pages, and where all others lie
    pages = {0: page, 1: page}
    for index in range(rng.randrange(1, 6)):
        pages[first + index] = _page_of_records(volume, rng, newest + index * 8)
    for index, block in pages.items():
        if index * _PAGE < size:
            at = volume.place_in(runs, index * _PAGE)
            volume.data[at : at + _PAGE] = block
    return f"a log of version 2.0, with {len(pages) - 2} pages of records from page {first} on"


def _page_of_records(volume: NtfsBytes, rng: random.Random, number: int) -> bytes:
    block = bytearray(_PAGE)
    head = (b"RCRD", 0x28, 9, number, 1, 1, 1, 0x40 + 0x68, 0, number)
    struct.pack_into("<4sHHQIHHHHxxxxQ", block, 0, *head)
    at = 0x40
    for _ in range(rng.randrange(1, 6)):
        _, target = clusters_of_something(volume, rng)
        data = rng.randbytes(16)
        body = struct.pack(
            "<12HQQ",
            *(rng.choice(_OPERATIONS), rng.choice(_OPERATIONS), 0x28, 16, 0x28, 16, 0x18, 1),
            *(rng.randrange(0x200), rng.randrange(0x200), rng.randrange(8), 0),
            rng.randrange(64),
            target,
        )
        client = len(body) + len(data)
        record = struct.pack("<QQQIHHIIH6x", number, number - 8, number - 8, client, 0, 0, 1, 0x18, 0)
        whole = (record + body + data).ljust(len(record) + client + 7 & ~7, b"\0")
        block[at : at + len(whole)] = whole
        at += len(whole)
    return protected(block)


def _retargeted(volume: NtfsBytes, rng: random.Random) -> str:
    """The newest records that wait in the log lead elsewhere: their operation, their place, their cluster."""
    said = []
    newest = sorted(_waiting(volume), reverse=True)[: rng.choice((2, 4, 16))]
    for _, at, place in newest:
        block = unprotected(bytes(volume.data[at : at + _PAGE]))
        if block is None or place + 0x58 > _PAGE:
            continue
        _, target = clusters_of_something(volume, rng)
        changes = {
            0x30: ("<H", rng.choice(_OPERATIONS)),
            0x40: ("<H", rng.randrange(0x400)),
            0x42: ("<H", rng.randrange(0x400)),
            0x48: ("<Q", rng.randrange(64)),
            0x50: ("<Q", target),
        }
        for field in rng.sample(list(changes), rng.choice((1, 1, 2))):
            packing, value = changes[field]
            struct.pack_into(packing, block, place + field, value)
            said.append(f"{field:#x} -> {value:#x}")
        volume.data[at : at + _PAGE] = protected(block)
    if not said:
        raise NotHereError("no records wait")
    return f"the newest of the records that wait lead elsewhere: {', '.join(said[:4])}"


def _waiting(volume: NtfsBytes) -> Iterator[tuple[int, int, int]]:
    """Each log record: its number, its page's place on the volume, its place in that."""
    runs = tuple(volume.runs(LOG, DATA))
    for page in range(2, sum(count for _, count in runs) * volume.cluster // _PAGE):
        at = volume.place_in(runs, page * _PAGE)
        block = (
            unprotected(bytes(volume.data[at : at + _PAGE])) if volume.data[at : at + 4] == b"RCRD" else None
        )
        place = 0x40
        while block is not None and place + 0x58 <= _PAGE:
            number, length = struct.unpack_from("<Q16xI", block, place)
            if not 0x28 <= length <= _PAGE:
                break
            yield number, at, place
            place = place + 0x30 + length + 7 & ~7


def _rubbish(volume: NtfsBytes, rng: random.Random) -> str:
    """Pages that are none of a log's: of another file, zeros, noise."""
    runs = tuple(volume.runs(LOG, DATA))
    pages = sum(count for _, count in runs) * volume.cluster // _PAGE
    first = rng.choice((0, 0, 1, 2, rng.randrange(pages)))
    count = rng.choice((1, 2, 3, 16))
    what = rng.choice(("zeros", "noise", "0xff", "another file's"))
    for page in range(first, min(first + count, pages)):
        at = volume.place_in(runs, page * _PAGE)
        other = rng.randrange(len(volume.data) // _PAGE) * _PAGE
        block = {
            "zeros": bytes(_PAGE),
            "noise": rng.randbytes(_PAGE),
            "0xff": b"\xff" * _PAGE,
            "another file's": bytes(volume.data[other : other + _PAGE]).ljust(_PAGE, b"\0"),
        }[what]
        volume.data[at : at + _PAGE] = block
    return f"{count} pages of the log from {first} on are {what}"


def _bits(volume: NtfsBytes, rng: random.Random) -> str:
    start, count = volume.runs(LOG, DATA)[0]
    assert start is not None
    return flip_bits(volume, start * volume.cluster, min(count * volume.cluster, 16 * _PAGE), rng)


KINDS: dict[str, Damage] = {
    "runs": _runs,
    "all elsewhere": _all_elsewhere,
    "sizes": _sizes,
    "attribute": _attribute,
    "record": _record,
    "restart pages": _restart_pages,
    "records": _records,
    "newer pages": _newer_pages,
    "retargeted": _retargeted,
    "rubbish": _rubbish,
    "bits": _bits,
}
