"""Lists of attributes that go round in a circle, that have no end, or that help themselves to another's."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable

from support.damage.kinds.lies import list_attributes
from support.damage.kinds.targets import CROWDSTRIKE, Damage, any_file, files_with_clusters, free_cluster
from support.damage.ntfs_bytes import (
    DATA,
    FILE_NAME,
    INDEX_ALLOCATION,
    INDEX_ROOT,
    LIST,
    ROOT,
    SECURE,
    NotHereError,
    NtfsBytes,
    foreign,
    insert_attribute,
    list_entry,
    remove_attribute,
    resident,
)
from support.damage.paths import FAULTY, USERS


def _mailbox(volume: NtfsBytes, rng: random.Random) -> int:
    return volume.find_record(f"{USERS}\\mailbox {rng.randrange(2)}.pst")


def _someone(volume: NtfsBytes, rng: random.Random) -> int:
    """A file or folder that a repair writes to or passes by."""
    paths = (FAULTY, FAULTY, CROWDSTRIKE, "\\Windows\\System32\\drivers", USERS)
    return rng.choice((ROOT, SECURE, any_file(volume, rng), *map(volume.find_record, paths)))


def _sequence(volume: NtfsBytes, number: int) -> int:
    return int(struct.unpack_from("<H", volume.read(number), 16)[0])


def _extensions(volume: NtfsBytes, base: int) -> list[int]:
    found = [
        number
        for number, record in volume.in_use()
        if struct.unpack_from("<Q", record, 32)[0] & (1 << 48) - 1 == base
    ]
    if len(found) < 2:
        raise NotHereError("it has no two extensions")
    return found


def _names_itself(volume: NtfsBytes, rng: random.Random) -> str:
    """The list has an entry for the list."""
    number = _someone(volume, rng)
    entry = list_entry(LIST, number, _sequence(volume, number), number=rng.randrange(8))
    list_attributes(volume, number, [entry] * rng.choice((1, 1, 40)))
    return f"the list of attributes of file {number} names itself"


def _base_again(volume: NtfsBytes, rng: random.Random) -> str:
    """The list names a part of the file a second time, or further on than it is."""
    number = _someone(volume, rng)
    kind = rng.choice((DATA, INDEX_ALLOCATION, INDEX_ROOT, FILE_NAME))
    first = rng.choice((0, 1, 16, 1 << 40))
    entry = list_entry(kind, number, _sequence(volume, number), first=first, number=rng.randrange(8))
    list_attributes(volume, number, [entry])
    return f"the list of file {number} names its attribute {kind:#x} from cluster {first} on, once more"


def _list_of_a_list(volume: NtfsBytes, rng: random.Random) -> str:
    """An extension has a list of attributes of its own: of the file, of another file, of itself."""
    base = _mailbox(volume, rng)
    chosen, other = rng.sample(_extensions(volume, base), 2)
    target = rng.choice((base, other, chosen, any_file(volume, rng)))
    entry = list_entry(DATA, target, _sequence(volume, target))
    record = volume.read(chosen)
    try:
        insert_attribute(record, resident(LIST, entry))
    except NotHereError:
        _drop_the_last(volume, record)
        insert_attribute(record, resident(LIST, entry))
    volume.write(chosen, record)
    return f"record {chosen}, which goes on file {base}, has a list, which names {target}"


def _drop_the_last(volume: NtfsBytes, record: bytearray) -> None:
    remove_attribute(record, volume.find(record, DATA))


def _circle(volume: NtfsBytes, rng: random.Random) -> str:
    """Two records each go on the other, or one goes on itself; a list may name them still."""
    base = _mailbox(volume, rng)
    one, other = rng.sample(_extensions(volume, base), 2)
    how = rng.choice(("each other", "itself", "the base goes on them", "the next"))
    pairs = {
        "each other": [(one, other), (other, one)],
        "itself": [(one, one)],
        "the base goes on them": [(base, one)],
        "the next": [(one, other)],
    }[how]
    for number, above in pairs:
        record = volume.read(number)
        struct.pack_into("<Q", record, 32, _sequence(volume, above) << 48 | above)
        volume.write(number, record)
    return f"records {one} and {other} of file {base}: {how}"


def _of_another(volume: NtfsBytes, rng: random.Random) -> str:
    """A list names another file's record, which may say that it goes on this one."""
    number, other = _someone(volume, rng), any_file(volume, rng)
    if number == other:
        raise NotHereError("the same")
    kind = rng.choice((DATA, DATA, INDEX_ALLOCATION, FILE_NAME))
    list_attributes(
        volume, number, [list_entry(kind, other, _sequence(volume, other), number=rng.randrange(8))]
    )
    if rng.random() < 0.5:
        record = volume.read(other)
        struct.pack_into("<Q", record, 32, _sequence(volume, number) << 48 | number)
        volume.write(other, record)
    return f"the list of file {number} names record {other}, of another file"


def _endless(volume: NtfsBytes, rng: random.Random) -> str:
    """A list in clusters that is said to be as long as a disk, or that lies in a user's file."""
    number = _someone(volume, rng)
    record = volume.read(number)
    if any(True for _ in _lists(volume, record)):
        raise NotHereError("it has a list")
    size = rng.choice((1 << 20, 1 << 40, 1 << 62, 0, 13))
    cluster = free_cluster(volume, rng)
    if rng.random() < 0.5:
        cluster, *_ = (start for start, _ in volume.runs(any_file(volume, rng), DATA) if start is not None)
    count = rng.choice((1, 1, 0xFFFF))
    insert_attribute(record, foreign(LIST, [(cluster, count)], size, volume.cluster))
    volume.write(number, record)
    return f"the list of file {number} lies at {cluster}, is {size:#x} bytes long"


def _lists(volume: NtfsBytes, record: bytearray) -> list[object]:
    try:
        return [volume.find(record, LIST)]
    except NotHereError:
        return []


def _long(volume: NtfsBytes, rng: random.Random) -> str:
    """A list with as many entries as go into a cluster, each of the same, or of all files."""
    number = _someone(volume, rng)
    room = volume.cluster // 32 - 12
    if room < 4:
        raise NotHereError("a small cluster")
    used = files_with_clusters(volume)
    names: Callable[[int], int] = rng.choice((lambda at: number, lambda at: used[at % len(used)]))
    entries = [
        list_entry(DATA, names(at), _sequence(volume, names(at)), first=at, number=at) for at in range(room)
    ]
    list_attributes(volume, number, entries)
    return f"the list of file {number} has {room} entries more"


KINDS: dict[str, Damage] = {
    "names itself": _names_itself,
    "base again": _base_again,
    "list of a list": _list_of_a_list,
    "circle": _circle,
    "of another": _of_another,
    "endless": _endless,
    "long": _long,
}
