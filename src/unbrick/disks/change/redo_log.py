"""Where a redo record is: in pages of NTFS's own journal, `$LogFile`, that a clean journal does not use.

No file of the volume is needed for it, no Windows user can write there, and a Windows that starts in between
writes to the journal's first pages: they show whether the record still holds. Pages that are no `RCRD` are in
every journal where it was never written to.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unbrick.disks.change.redo_record import SECTOR, Change, Redo, decode, decode_head, digest_of, encode
from unbrick.disks.ntfs.log import LogState, is_log_page
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import RECORD_VOLUME, ByteView, Geometry, damaged
from unbrick.errors import NeedsHandsError, Reason

_PAGE = 4096
_FIRST_PAGES = 4 * _PAGE  # two restart pages, and two that take turns with the newest page
_DISTANCE = 16 * _PAGE
_BOOT_FILE = 8192


@dataclass(frozen=True)
class Pending:
    """A whole record, at `start` (bytes) of the journal, `length` bytes long."""

    start: int
    length: int
    redo: Redo


@dataclass(frozen=True)
class Placed:
    """A record ready to be written at `start`, and the former bytes there.

    `stale` are the other places, with their lengths, at which an older record is that must never be used
    again.
    """

    start: int
    record: bytes
    former: bytes
    stale: tuple[tuple[int, int], ...]


def place_record(area: Stream, log: LogState, redo: Redo) -> Placed:
    """Choose a place for a record, far from the newest page of the journal; writes nothing.

    Raises NeedsHandsError: too-many-files where the journal is too small for so large a change, or the change
    larger than any record that is accepted; damaged-volume where the bytes there are no journal.
    """
    record = encode(redo, _context(area))
    stale = dict(_older_records(area))
    newest = range(log.newest - _DISTANCE, log.newest + _DISTANCE) if log.newest is not None else range(0)
    readable = _read_back(record) == redo
    strange = False
    for start, end in _places(area) if readable else ():
        used = range(start, start + len(record))
        if used.stop <= end and (used.stop <= newest.start or newest.stop <= used.start or not newest):
            if not _is_journal(area, used, stale):
                strange = True
                continue
            former = b"\xff" * len(record) if start in stale else area.read(start, len(record))
            return Placed(start, record, former, tuple(one for one in stale.items() if one[0] != start))
    if strange:
        raise damaged("its $LogFile holds what is no journal")
    raise NeedsHandsError(
        "this is too much to change in one run: the NTFS journal of this volume is too small for it",
        reason=Reason.TOO_MANY_FILES,
    )


def _older_records(area: Stream) -> Iterator[tuple[int, int]]:
    """Place and length of what is left of older records: the whole of one, or its head."""
    for start, end in _places(area):
        head = decode_head(area.read(start, SECTOR))
        if head is not None:
            whole = start + SECTOR + head.length <= end and _read_back(area.read(start, SECTOR + head.length))
            yield start, SECTOR + head.length if whole else SECTOR


def _is_journal(area: Stream, used: range, stale: dict[int, int]) -> bool:
    """Whether all pages of a stretch are pages of a journal, or hold an older record."""
    own = range(used.start, used.start + stale.get(used.start, 0))
    return all(
        page in own or is_log_page(area.read(page, _PAGE))
        for page in range(used.start // _PAGE * _PAGE, used.stop, _PAGE)
    )


def find_pending(view: ByteView, geometry: Geometry, area: Stream) -> Pending | None:
    """The record of a change that a power cut has stopped, if it still holds.

    It does where no system has opened the volume since, and each sector is as it was before or after.
    """
    for pending in _records(area, context=_context(area)):
        if _holds(pending.redo, view, geometry, area):
            return pending
    return None


def is_carried_out(view: ByteView, pending: Pending) -> bool:
    """Whether everything it writes is there already, so that completing it changes nothing."""
    return all(view.read(change.offset, len(change.data)) == change.data for change in pending.redo.changes)


def find_former(view: ByteView, pending: Pending) -> list[tuple[int, bytes]] | None:
    """Places and bytes of what was there before the change.

    None where a record of an older version does not contain it, and a part of it is already overwritten.
    """
    former: list[tuple[int, bytes]] = []
    for change in pending.redo.changes:
        before = change.before
        if before is None:
            before = view.read(change.offset, len(change.data))
            if any(digest_of(sector) != digest for sector, digest, _ in _compare(change, view)):
                return None
        former.append((change.offset, before))
    return former


def too_old_to_judge() -> NeedsHandsError:
    """The error where `find_former` finds nothing."""
    return NeedsHandsError(
        "an older version of unbrick was cut off here in the middle of its change, and left too little to "
        "judge whether completing it is safe",
        hint=(
            "complete it with the version that began it, or let Windows check the volume (chkdsk /f, from "
            "its recovery environment); then run unbrick again"
        ),
        reason=Reason.DAMAGED_VOLUME,
    )


def is_halfway(view: ByteView, geometry: Geometry, area: Stream) -> bool:
    """Whether a change of unbrick's is done only in part, going by a record that may no longer hold.

    It is where a run was cut off, and another system opened the volume before the change was completed.
    """
    for record in _records(area):
        done = left = False
        changes = record.redo.changes
        for change in changes if are_allowed(changes, geometry, area) else ():
            for sector, former, data in _compare(change, view):
                is_left = digest_of(sector) == former
                left = left or is_left
                done = done or (sector == data and not is_left)
        if done and left:
            return True
    return False


def are_allowed(changes: Iterable[Change], geometry: Geometry, area: Stream) -> bool:
    """Whether changes are in the volume, in ascending order, and in nothing that is written separately.

    That is the boot sectors, the journal, and the record with the dirty flag.
    """
    flag = RECORD_VOLUME * geometry.record
    forbidden = [(0, _BOOT_FILE), *area.extents()]
    forbidden += [(table + flag, geometry.record) for table in (geometry.mft, geometry.mirror)]
    zones = sorted((start, start + length) for start, length in forbidden)
    reach = passed = 0  # the end of all zones that begin before the end of a change
    for change in changes:
        end = change.offset + len(change.data)
        while passed < len(zones) and zones[passed][0] < end:
            reach = max(reach, zones[passed][1])
            passed += 1
        if change.offset < reach or end > geometry.length:
            return False
        reach = end
    return True


def _holds(redo: Redo, view: ByteView, geometry: Geometry, area: Stream) -> bool:
    return are_allowed(redo.changes, geometry, area) and all(
        sector == data or digest_of(sector) == former
        for change in redo.changes
        for sector, former, data in _compare(change, view)
    )


def _compare(change: Change, view: ByteView) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Of each sector: its bytes now, the digest of its former bytes, and its new bytes."""
    now = view.read(change.offset, len(change.data))
    for index, (former, data) in enumerate(change.sectors()):
        yield now[index * SECTOR : (index + 1) * SECTOR], former, data


def _records(area: Stream, context: bytes | None = None) -> Iterator[Pending]:
    """The whole records in the journal; with a context, only those written in it."""
    for start, end in _places(area):
        head = decode_head(area.read(start, SECTOR))
        if head is None or start + SECTOR + head.length > end or context not in (None, head.context):
            continue
        redo = decode(head, area.read(start + SECTOR, head.length))
        if redo is not None:
            yield Pending(start, SECTOR + head.length, redo)


def _read_back(record: bytes) -> Redo | None:
    head = decode_head(record[:SECTOR])
    return None if head is None else decode(head, record[SECTOR:])


def _context(area: Stream) -> bytes:
    return hashlib.sha256(area.read(0, _FIRST_PAGES)).digest()


def _places(area: Stream) -> tuple[tuple[int, int], ...]:
    """Two parts of the journal; neither has a power of two in it, where a restart page is looked for."""
    power = _PAGE
    while power * 2 < area.size:
        power *= 2
    if power < 4 * _FIRST_PAGES:
        return ()
    return ((power + _PAGE, area.size // SECTOR * SECTOR), (power // 2 + _PAGE, power))
