"""Reads a GUID partition table: the primary, the backup, and which of the two can be believed."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, replace
from uuid import UUID

from unbrick.disks import gpt
from unbrick.disks.identify.partition import Partition
from unbrick.disks.raw_view import RawView

_ENTRIES_LIMIT = 1024 * 1024


class GptDamagedError(Exception):
    """A GPT was here, and neither copy of it, or not both together, can be believed."""


@dataclass(frozen=True)
class Copy:
    """One sound copy of a GPT. Sector numbers are in units of `sector_size` bytes."""

    sector_size: int
    guid: str
    partitions: tuple[Partition, ...]
    alternate: int
    notes: tuple[str, ...] = ()


class _UnsoundError(Exception):
    """One copy fails its checks."""


def find_gpt(view: RawView, sector_size: int) -> Copy | None:
    """The GPT for one sector size; None where there is no trace of one.

    Raises GptDamagedError where there are traces and no sound copy or two that disagree.
    """
    last = view.size // sector_size - 1
    if last < 2:
        return None
    primary, primary_problem = _try(view, 1, sector_size)
    if primary is not None and primary.alternate > last:
        # An enclosure that keeps the last sectors for itself, a clone to a smaller disk: whether a partition
        # is cut off too is for the caller. A member of a RAID does not look so: its table ends earlier.
        missing = (primary.alternate + 1) * sector_size - view.size
        cut = f"the disk is {missing} bytes shorter than its partition table says, and lacks the backup GPT"
        return replace(primary, notes=(f"{cut}; the primary one was used",))
    backup, backup_problem = _find_backup(view, primary, last, sector_size)
    if primary and backup:
        if (primary.guid, primary.partitions) != (backup.guid, backup.partitions):
            raise GptDamagedError("the GPT and its backup contradict each other")
        return primary
    if primary:
        return replace(primary, notes=(f"the backup GPT {backup_problem}; the primary one was used",))
    if backup:
        return replace(backup, notes=(f"the primary GPT {primary_problem}; the backup was used",))
    if _has_signature(view, 1, sector_size) or _has_signature(view, last, sector_size):
        raise GptDamagedError(f"the GPT {primary_problem}, its backup {backup_problem}")
    return None


def _find_backup(view: RawView, primary: Copy | None, last: int, sector_size: int) -> tuple[Copy | None, str]:
    """The backup where the primary says it is; else in the last sector, or where a damaged primary says.

    That is another one on a disk that has grown.
    """
    if primary is not None:
        return _try(view, primary.alternate, sector_size)
    found, problem = _try(view, last, sector_size)
    raw = view.read(sector_size, gpt.HEADER_SIZE)
    if found is None and len(raw) == gpt.HEADER_SIZE and raw[:8] == gpt.SIGNATURE:
        alternate = gpt.read_header(raw).alternate
        if 1 < alternate < last:
            found, _ = _try(view, alternate, sector_size)
    return found, problem


def _has_signature(view: RawView, sector: int, sector_size: int) -> bool:
    return view.read(sector * sector_size, 8) == gpt.SIGNATURE


def _try(view: RawView, sector: int, sector_size: int) -> tuple[Copy | None, str]:
    try:
        return _read_copy(view, sector, sector_size), ""
    except _UnsoundError as error:
        return None, str(error)


def _read_copy(view: RawView, sector: int, sector_size: int) -> Copy:
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
    if size < gpt.SMALLEST_ENTRY or size % 8 or header.entry_count * size > _ENTRIES_LIMIT:
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
    return Copy(sector_size, str(UUID(bytes_le=header.guid)).upper(), tuple(partitions), header.alternate)
