"""Reads a master boot record and the chain of its logical partitions.

Layout as in the UEFI specification, section 5.2.1; the chain of extended boot records as Windows and
Linux's `block/partitions/msdos.c` walk it.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from unbrick.disks.identify.partition import Partition, Table, TableKind
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError, Reason

PROTECTIVE = 0xEE
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_ENTRY = struct.Struct("<B3sB3sII")
_LOGICAL_LIMIT = 128


@dataclass(frozen=True)
class _Entry:
    kind: int
    start: int
    count: int


def read_mbr(view: RawView, sector_sizes: Sequence[int], notes: tuple[str, ...] = ()) -> Table:
    """The MBR's partitions, in units of the first sector size in which one of them begins with a boot sector.

    Gives `TableKind.NONE` where sector 0 is no MBR. Raises NeedsHandsError (damaged-table) on a broken chain.
    """
    sector = view.read(0, 512)
    entries = _read_entries(sector)
    if entries is None or not any(entry.kind for entry in entries):
        return Table(TableKind.NONE, sector_sizes[0], None, (), notes)
    (signature,) = struct.unpack_from("<I", sector, 440)
    size = _choose_sector_size(view, entries, sector_sizes)
    partitions = _list_partitions(view, entries, size)
    return Table(TableKind.MBR, size, f"{signature:08X}", partitions, notes)


def _choose_sector_size(view: RawView, entries: tuple[_Entry, ...], sector_sizes: Sequence[int]) -> int:
    """An MBR does not say what its sectors are: what its partitions begin with does, else the likeliest."""
    for size in sector_sizes:
        with suppress(NeedsHandsError):
            if _begins_like_volumes(view, _list_partitions(view, entries, size)):
                return size
    return sector_sizes[0]


def _read_entries(sector: bytes) -> tuple[_Entry, ...] | None:
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        return None
    entries = []
    for index in range(4):
        status, _, kind, _, start, count = _ENTRY.unpack_from(sector, 446 + 16 * index)
        if status not in (0x00, 0x80):
            return None
        entries.append(_Entry(kind, start, count))
    return tuple(entries)


def _begins_like_volumes(view: RawView, partitions: tuple[Partition, ...]) -> bool:
    return any(view.read(partition.offset + 510, 2) == b"\x55\xaa" for partition in partitions)


def _list_partitions(view: RawView, entries: tuple[_Entry, ...], sector_size: int) -> tuple[Partition, ...]:
    partitions: list[Partition] = []
    for number, entry in enumerate(entries, start=1):
        if not entry.kind or not entry.count:
            continue
        if entry.kind in _EXTENDED:
            first_number = 5 + sum(partition.number >= 5 for partition in partitions)
            partitions += _walk_chain(view, entry.start, first_number, sector_size)
        else:
            partitions.append(_partition(view, number, entry.start, entry, sector_size))
    return tuple(sorted(partitions, key=lambda partition: partition.number))


def _partition(view: RawView, number: int, start: int, entry: _Entry, sector_size: int) -> Partition:
    if not start:
        raise _damaged(view, f"partition {number} begins at the table itself")
    return Partition(number, start * sector_size, entry.count * sector_size, f"{entry.kind:02X}")


def _walk_chain(view: RawView, base: int, first_number: int, sector_size: int) -> list[Partition]:
    """The logical partitions: each link names one, and the next link relative to the first."""
    partitions: list[Partition] = []
    seen: set[int] = set()
    link = base
    while True:
        if link in seen or len(seen) >= _LOGICAL_LIMIT:
            raise _damaged(view, "the chain of logical partitions never ends")
        seen.add(link)
        sector = view.read(link * sector_size, 512)
        if len(sector) < 512:
            raise NeedsHandsError(
                f"{view.name}: the list of its logical partitions lies after the end of the disk",
                hint="the image or the disk is cut off: copy it again from its source",
                reason=Reason.TRUNCATED,
            )
        if link == base and not any(sector):
            return []
        entries = _read_entries(sector)
        if entries is None:
            raise _damaged(view, "the chain of logical partitions is broken")
        here, following = entries[0], entries[1]
        if here.kind and here.count:
            number = first_number + len(partitions)
            partitions.append(_partition(view, number, link + here.start, here, sector_size))
        if following.kind not in _EXTENDED or not following.count:
            return partitions
        link = base + following.start


def _damaged(view: RawView, what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{view.name}: the partition table is damaged: {what}",
        hint="testdisk can rebuild it; make a copy of the disk first",
        reason=Reason.DAMAGED_TABLE,
    )
