"""Damage to files' own records: the faulty one's, others', clusters that two claim, lists of attributes."""

from __future__ import annotations

import random
import struct

from support.damage.kinds.targets import (
    Damage,
    any_file,
    hurt_attribute,
    hurt_record,
    hurt_runs,
    random_field,
)
from support.damage.ntfs_bytes import (
    DATA,
    FILE_NAME,
    FIRST_USER_RECORD,
    LIST,
    STANDARD,
    NotHereError,
    NtfsBytes,
    attributes,
)
from support.damage.paths import FAULTY, USERS

_NAME_FIELDS = {
    "parent": (0, 6),
    "parent's sequence": (6, 2),
    "allocated": (40, 8),
    "size": (48, 8),
    "flags": (56, 4),
    "name's length": (64, 1),
    "name's kind": (65, 1),
    "name": (66, 2),
}
_LIST_FIELDS = {
    "kind": (0, 4),
    "length": (4, 2),
    "name's length": (6, 1),
    "lowest VCN": (8, 8),
    "reference": (16, 6),
    "sequence": (22, 2),
    "number": (24, 2),
}


def _faulty_runs(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_runs(volume, volume.find_record(FAULTY), DATA, rng)


def _faulty_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    kind = rng.choice((DATA, DATA, FILE_NAME, STANDARD))
    return hurt_attribute(volume, volume.find_record(FAULTY), kind, rng)


def _faulty_record(volume: NtfsBytes, rng: random.Random) -> str:
    return hurt_record(volume, volume.find_record(FAULTY), rng)


def _faulty_name(volume: NtfsBytes, rng: random.Random) -> str:
    number = volume.find_record(FAULTY)
    record = volume.read(number)
    names = [one for one in attributes(record) if one.kind == FILE_NAME]
    said = random_field(record, rng, _NAME_FIELDS, rng.choice(names).value_at)
    volume.write(number, record)
    return f"a name of the faulty file: {said}"


def _faulty_links(volume: NtfsBytes, rng: random.Random) -> str:
    number = volume.find_record(FAULTY)
    record = volume.read(number)
    links = rng.choice((0, 1, 2, 3, 9, 0xFFFF))
    struct.pack_into("<H", record, 0x12, links)
    volume.write(number, record)
    return f"the faulty file counts {links} names"


def _crossed(volume: NtfsBytes, rng: random.Random) -> str:
    """Some files' lists of clusters lead to other files' clusters."""
    return "; ".join(hurt_runs(volume, any_file(volume, rng), DATA, rng) for _ in range(rng.randrange(1, 4)))


def _any_record(volume: NtfsBytes, rng: random.Random) -> str:
    number = rng.choice([number for number, _ in volume.in_use()])
    return hurt_record(volume, number, rng)


def _any_attribute(volume: NtfsBytes, rng: random.Random) -> str:
    number, record = rng.choice(list(volume.in_use()))
    found = list(attributes(record))
    if not found:
        raise NotHereError("no attribute")
    chosen = rng.choice(found)
    return hurt_attribute(volume, number, chosen.kind, rng, chosen.name)


def _list(volume: NtfsBytes, rng: random.Random) -> str:
    """An entry of a list of attributes leads elsewhere; or the list itself lies elsewhere."""
    number = volume.find_record(f"{USERS}\\mailbox {rng.randrange(2)}.pst")
    record = volume.read(number)
    found = volume.find(record, LIST)
    if not found.resident:
        if rng.random() < 0.4:
            return hurt_runs(volume, number, LIST, rng)
        at = volume.place_in(found.runs, 0)
        content = bytearray(volume.data[at : at + found.size])
    else:
        content = bytearray(record[found.value_at : found.value_at + found.size])
    entries, position = [], 0
    while position + 26 <= len(content) and struct.unpack_from("<H", content, position + 4)[0]:
        entries.append(position)
        position += struct.unpack_from("<H", content, position + 4)[0]
    said = random_field(content, rng, _LIST_FIELDS, rng.choice(entries))
    if found.resident:
        record[found.value_at : found.value_at + found.size] = content
        volume.write(number, record)
    else:
        volume.data[at : at + found.size] = bytes(content)
    return f"list of attributes of file {number}: {said}"


def _extension(volume: NtfsBytes, rng: random.Random) -> str:
    """A record that only goes on another one: its head, its base, its clusters."""
    extensions = [
        number
        for number, record in volume.in_use()
        if struct.unpack_from("<Q", record, 0x20)[0] & (1 << 48) - 1
    ]
    if not extensions:
        raise NotHereError("no record that goes on another")
    number = rng.choice(extensions)
    return hurt_runs(volume, number, DATA, rng) if rng.random() < 0.5 else hurt_record(volume, number, rng)


def _same_sequence(volume: NtfsBytes, rng: random.Random) -> str:
    """A record lies at another's place, whole."""
    used = [number for number, _ in volume.in_use() if number >= FIRST_USER_RECORD]
    source, target = rng.sample(used, 2)
    volume.write(target, volume.read(source))
    return f"record {source} lies at {target}, too"


KINDS: dict[str, Damage] = {
    "faulty runs": _faulty_runs,
    "faulty attribute": _faulty_attribute,
    "faulty record": _faulty_record,
    "faulty name": _faulty_name,
    "faulty links": _faulty_links,
    "crossed": _crossed,
    "record": _any_record,
    "attribute": _any_attribute,
    "list": _list,
    "extension": _extension,
    "doubled": _same_sequence,
}
