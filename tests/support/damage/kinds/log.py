"""Damage to `$LogFile`: where it lies, how long it is, and what is in it."""

from __future__ import annotations

import random
import struct

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
    "rubbish": _rubbish,
    "bits": _bits,
}
