"""The partition table of a disk: its kind, where the partitions are, whether the table can be believed.

Pure: reads a `RawView`. The rules for GPT (checksums, backup, protective MBR) are those of the UEFI
specification, chapter 5. The MBR is as in its section 5.2.1; the chain of extended boot records is walked as
Windows and Linux's `block/partitions/msdos.c` walk it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple
from uuid import UUID

from unbrick.disks import gpt
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError, Reason

_PROTECTIVE = 0xEE
_EXTENDED = frozenset({0x05, 0x0F, 0x85})
_MBR_ENTRY = struct.Struct("<B3sB3sII")
_LOGICAL_LIMIT = 128
_GPT_ENTRIES_LIMIT = 1024 * 1024


class TableKind(StrEnum):
    """The kinds of partition table."""

    GPT = "gpt"
    MBR = "mbr"
    NONE = "none"


@dataclass(frozen=True)
class Partition:
    """One partition; `offset` and `length` are bytes. `type` is a GUID (GPT, upper case) or 2 hex digits."""

    number: int
    offset: int
    length: int
    type: str


@dataclass(frozen=True)
class Table:
    """A partition table that was found sound. `guid` is the GPT's disk GUID or the MBR's 8 hex digits."""

    kind: TableKind
    sector_size: int
    guid: str | None
    partitions: tuple[Partition, ...]
    notes: tuple[str, ...] = ()


def read_table(view: RawView, sector_sizes: Sequence[int]) -> Table:
    """The partition table of a disk, read with the first of `sector_sizes` (bytes) that fits.

    A disk without a table gives `TableKind.NONE` and no partitions. Raises NeedsHandsError: `damaged-table`
    where neither copy of a GPT is sound, copies contradict each other, or partitions overlap; `truncated`
    where the table describes more bytes than there are.
    """
    mbr_types = _mbr_types(view)
    found = [copy for size in sector_sizes if (copy := _find_gpt(view, size)) is not None]
    if len(found) > 1:
        raise _damaged(view, "it has two partition tables, for different sector sizes")
    if not found and _PROTECTIVE in mbr_types:
        raise _damaged(view, "its first sector says GPT, but no sound GPT is there")
    table = _gpt_table(found[0], mbr_types) if found else None
    if table is None:
        notes = ("an old GPT beside the MBR was ignored",) if found else ()
        table = _read_mbr(view, sector_sizes, notes)
    _check_partitions(view, table)
    return table


def _mbr_types(view: RawView) -> tuple[int, ...]:
    sector = view.read(0, 512)
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        return ()
    return tuple(sector[446 + 16 * index + 4] for index in range(4))


def _check_partitions(view: RawView, table: Table) -> None:
    for partition in table.partitions:
        if partition.offset + partition.length > view.size:
            missing = partition.offset + partition.length - view.size
            raise _truncated(
                view, f"partition {partition.number} ends {missing} bytes after the end of the disk"
            )
    ordered = sorted(table.partitions, key=lambda partition: partition.offset)
    for before, after in pairwise(ordered):
        if before.offset + before.length > after.offset:
            raise _damaged(view, f"partitions {before.number} and {after.number} overlap")


def _damaged(view: RawView, what: str, tools: str = "gdisk or testdisk") -> NeedsHandsError:
    return NeedsHandsError(
        f"{view.name}: the partition table is damaged: {what}",
        hint=f"{tools} can rebuild it; make a copy of the disk first",
        reason=Reason.DAMAGED_TABLE,
    )


def _truncated(view: RawView, what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{view.name}: {what}",
        hint="the image or the disk is cut off: copy it again from its source",
        reason=Reason.TRUNCATED,
    )


@dataclass(frozen=True)
class _GptCopy:
    """One sound copy of a GPT. Sector numbers are in units of `sector_size` bytes."""

    sector_size: int
    guid: str
    partitions: tuple[Partition, ...]
    alternate: int
    notes: tuple[str, ...] = ()


class _UnsoundError(Exception):
    """One copy of a GPT fails its checks."""


def _gpt_table(copy: _GptCopy, mbr_types: tuple[int, ...]) -> Table | None:
    """The GPT as a table; None where the MBR says that this is no GPT disk any more."""
    used = [kind for kind in mbr_types if kind]
    notes = list(copy.notes)
    if used and _PROTECTIVE not in used:
        return None
    if not used:
        notes.append("the protective MBR is missing")
    elif len(used) > 1:
        notes.append("the MBR is a hybrid; the GPT was used")
    return Table(TableKind.GPT, copy.sector_size, copy.guid, copy.partitions, tuple(notes))


def _find_gpt(view: RawView, sector_size: int) -> _GptCopy | None:
    """The GPT for one sector size; None where there is no trace of one.

    Raises NeedsHandsError (damaged-table) where there are traces, but no sound copy, or two that disagree.
    """
    last = view.size // sector_size - 1
    if last < 2:
        return None
    primary, primary_problem = _try(view, 1, sector_size)
    if primary is not None and primary.alternate > last:
        # An enclosure that keeps the last sectors for itself, a clone to a smaller disk: the caller checks
        # whether a partition is cut off too. A RAID member does not look like this: its table ends earlier.
        missing = (primary.alternate + 1) * sector_size - view.size
        cut = f"the disk is {missing} bytes shorter than its partition table says, and lacks the backup GPT"
        return replace(primary, notes=(f"{cut}; the primary one was used",))
    backup, backup_problem = _find_backup(view, primary, last, sector_size)
    if primary and backup:
        if (primary.guid, primary.partitions) != (backup.guid, backup.partitions):
            raise _damaged(view, "the GPT and its backup contradict each other")
        return primary
    if primary:
        return replace(primary, notes=(f"the backup GPT {backup_problem}; the primary one was used",))
    if backup:
        return replace(backup, notes=(f"the primary GPT {primary_problem}; the backup was used",))
    if any(view.read(sector * sector_size, 8) == gpt.SIGNATURE for sector in (1, last)):
        raise _damaged(view, f"the GPT {primary_problem}, its backup {backup_problem}")
    return None


def _find_backup(
    view: RawView, primary: _GptCopy | None, last: int, sector_size: int
) -> tuple[_GptCopy | None, str]:
    if primary is not None:
        return _try(view, primary.alternate, sector_size)
    found, problem = _try(view, last, sector_size)
    raw = view.read(sector_size, gpt.HEADER_SIZE)
    if found is None and len(raw) == gpt.HEADER_SIZE and raw[:8] == gpt.SIGNATURE:
        # On a disk that has grown, the backup is elsewhere: even a damaged primary may say where.
        alternate = gpt.read_header(raw).alternate
        if 1 < alternate < last:
            found, _ = _try(view, alternate, sector_size)
    return found, problem


def _try(view: RawView, sector: int, sector_size: int) -> tuple[_GptCopy | None, str]:
    """The copy of the GPT at a sector, or why there is none."""
    try:
        return _read_gpt(view, sector, sector_size), ""
    except _UnsoundError as error:
        return None, str(error)


def _read_gpt(view: RawView, sector: int, sector_size: int) -> _GptCopy:
    raw = view.read(sector * sector_size, sector_size)
    if len(raw) < sector_size or raw[:8] != gpt.SIGNATURE:
        raise _UnsoundError("is missing")
    header = gpt.read_header(raw)
    if not gpt.HEADER_SIZE <= header.size <= sector_size:
        raise _UnsoundError("states an impossible header size")
    if not header.is_sound(raw):
        raise _UnsoundError("fails its checksum")
    if header.own != sector:
        raise _UnsoundError("does not belong at its place")
    size = header.entry_size
    if size < gpt.SMALLEST_ENTRY or size % 8 or header.entry_count * size > _GPT_ENTRIES_LIMIT:
        raise _UnsoundError("states an impossible number of partitions")
    entries = view.read(header.entries_at * sector_size, header.entry_count * size)
    if len(entries) < header.entry_count * size or zlib.crc32(entries) != header.entries_checksum:
        raise _UnsoundError("has a list of partitions that fails its checksum")
    partitions = []
    for number, at in enumerate(range(0, len(entries), size), 1):
        entry = gpt.read_entry(entries[at : at + size])
        if entry.type == gpt.UNUSED:
            continue
        if not header.first_usable <= entry.first <= entry.last <= header.last_usable:
            raise _UnsoundError(f"has a partition {number} outside the usable area")
        length = (entry.last - entry.first + 1) * sector_size
        kind = str(UUID(bytes_le=entry.type)).upper()
        partitions.append(Partition(number, entry.first * sector_size, length, kind))
    return _GptCopy(sector_size, str(UUID(bytes_le=header.guid)).upper(), tuple(partitions), header.alternate)


class _MbrEntry(NamedTuple):
    kind: int
    start: int
    sectors: int


def _read_mbr(view: RawView, sector_sizes: Sequence[int], notes: tuple[str, ...]) -> Table:
    """`TableKind.NONE` where sector 0 is no MBR. Raises NeedsHandsError on a broken chain of partitions."""
    sector = view.read(0, 512)
    entries = _read_entries(sector)
    if entries is None or not any(entry.kind for entry in entries):
        return Table(TableKind.NONE, sector_sizes[0], None, (), notes)
    (signature,) = struct.unpack_from("<I", sector, 440)
    size = _choose_sector_size(view, entries, sector_sizes)
    partitions = _list_partitions(view, entries, size)
    return Table(TableKind.MBR, size, f"{signature:08X}", partitions, notes)


def _choose_sector_size(view: RawView, entries: list[_MbrEntry], sector_sizes: Sequence[int]) -> int:
    """The first size with which a partition begins with a boot sector: an MBR does not state its own."""
    for size in sector_sizes:
        with suppress(NeedsHandsError):
            partitions = _list_partitions(view, entries, size)
            if any(view.read(partition.offset + 510, 2) == b"\x55\xaa" for partition in partitions):
                return size
    return sector_sizes[0]


def _read_entries(sector: bytes) -> list[_MbrEntry] | None:
    if len(sector) < 512 or sector[510:512] != b"\x55\xaa":
        return None
    entries = []
    for index in range(4):
        status, _, kind, _, start, count = _MBR_ENTRY.unpack_from(sector, 446 + 16 * index)
        if status not in (0x00, 0x80):
            return None
        entries.append(_MbrEntry(kind, start, count))
    return entries


def _list_partitions(view: RawView, entries: list[_MbrEntry], sector_size: int) -> tuple[Partition, ...]:
    partitions: list[Partition] = []
    for number, entry in enumerate(entries, start=1):
        if not entry.kind or not entry.sectors:
            continue
        if entry.kind in _EXTENDED:
            first_number = 5 + sum(partition.number >= 5 for partition in partitions)
            partitions += _walk_chain(view, entry.start, first_number, sector_size)
        else:
            partitions.append(_partition(view, number, entry.start, entry, sector_size))
    return tuple(sorted(partitions, key=lambda partition: partition.number))


def _partition(view: RawView, number: int, start: int, entry: _MbrEntry, sector_size: int) -> Partition:
    if not start:
        raise _damaged_mbr(view, f"partition {number} begins at the table itself")
    return Partition(number, start * sector_size, entry.sectors * sector_size, f"{entry.kind:02X}")


def _walk_chain(view: RawView, base: int, first_number: int, sector_size: int) -> list[Partition]:
    """The logical partitions: each link names one, and the next link relative to the first."""
    partitions: list[Partition] = []
    seen: set[int] = set()
    link = base
    while True:
        if link in seen or len(seen) >= _LOGICAL_LIMIT:
            raise _damaged_mbr(view, "the chain of logical partitions never ends")
        seen.add(link)
        sector = view.read(link * sector_size, 512)
        if len(sector) < 512:
            raise _truncated(view, "the list of its logical partitions lies after the end of the disk")
        if link == base and not any(sector):
            return []
        entries = _read_entries(sector)
        if entries is None:
            raise _damaged_mbr(view, "the chain of logical partitions is broken")
        here, following = entries[0], entries[1]
        if here.kind and here.sectors:
            number = first_number + len(partitions)
            partitions.append(_partition(view, number, link + here.start, here, sector_size))
        if following.kind not in _EXTENDED or not following.sectors:
            return partitions
        link = base + following.start


def _damaged_mbr(view: RawView, what: str) -> NeedsHandsError:
    return _damaged(view, what, "testdisk")
