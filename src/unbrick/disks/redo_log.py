"""Where a redo record lies: in pages of NTFS's own journal, `$LogFile`, that a clean journal has no use for.

No file of the volume has to be made for it, no Windows user can write there, and a Windows that starts in
between writes to the journal's first pages: by these it is known whether the record still holds. Pages that
are no `RCRD` are what each journal has where it was never written to.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from unbrick.disks.ntfs_log import LogArea, LogState
from unbrick.disks.ntfs_volume import RECORD_VOLUME, ByteView, Geometry
from unbrick.disks.redo_record import SECTOR, Redo, decode, decode_head, digest_of, encode
from unbrick.errors import NeedsHandsError, Reason

_PAGE = 4096
_FIRST_PAGES = 4 * _PAGE  # two restart pages, and two that take turns with the newest page
_DISTANCE = 16 * _PAGE
_BOOT_FILE = 8192


@dataclass(frozen=True)
class Pending:
    """A whole record, at `start` (bytes) of the journal, whose change was begun or is still to be."""

    start: int
    length: int
    redo: Redo


@dataclass(frozen=True)
class Placed:
    """A record ready to be written at `start`, and what lies there now."""

    start: int
    record: bytes
    former: bytes


def place_record(area: LogArea, log: LogState, redo: Redo) -> Placed:
    """Choose a place for a record, far from the newest page of the journal; writes nothing.

    Raises NeedsHandsError (too-many-files) where the journal is too small for so large a change.
    """
    record = encode(redo, _context(area))
    newest = range(log.newest - _DISTANCE, log.newest + _DISTANCE) if log.newest is not None else range(0)
    for start, end in _places(area):
        used = range(start, start + len(record))
        if used.stop <= end and (used.stop <= newest.start or newest.stop <= used.start or not newest):
            former = area.read(start, len(record))
            if decode_head(former[:SECTOR]) is not None:  # what an earlier cut has left of one
                former = b"\xff" * len(record)
            return Placed(start, record, former)
    raise NeedsHandsError(
        "this is too much to change in one run: the NTFS journal of this volume is too small for it",
        reason=Reason.TOO_MANY_FILES,
    )


def find_pending(view: ByteView, geometry: Geometry, area: LogArea) -> Pending | None:
    """The record of a change that a cut of the power has stopped, if what it says still holds.

    It does where nobody has opened the volume since, and each sector is as it was before or after.
    """
    for start, end in _places(area):
        head = decode_head(area.read(start, SECTOR))
        if head is None or start + SECTOR + head.length > end or head.context != _context(area):
            continue
        redo = decode(head, area.read(start + SECTOR, head.length))
        if redo is not None and _holds(redo, view, geometry, area):
            return Pending(start, SECTOR + head.length, redo)
    return None


def is_ours_to_change(offset: int, length: int, geometry: Geometry, area: LogArea) -> bool:
    """Whether a change may lie there: in the volume, and in nothing that is changed by other means.

    Not in the boot sectors, the journal, or the record with the dirty flag.
    """
    flag = RECORD_VOLUME * geometry.record
    forbidden = [(0, _BOOT_FILE), *area.extents()]
    forbidden += [(table + flag, geometry.record) for table in (geometry.mft, geometry.mirror)]
    inside = offset >= 0 and offset + length <= geometry.length
    return inside and all(offset + length <= start or start + size <= offset for start, size in forbidden)


def _holds(redo: Redo, view: ByteView, geometry: Geometry, area: LogArea) -> bool:
    for change in redo.changes:
        if not is_ours_to_change(change.offset, len(change.data), geometry, area):
            return False
        now = view.read(change.offset, len(change.data))
        for index, (former, data) in enumerate(change.sectors()):
            sector = now[index * SECTOR : (index + 1) * SECTOR]
            if sector != data and digest_of(sector) != former:
                return False
    return True


def _context(area: LogArea) -> bytes:
    return hashlib.sha256(area.read(0, _FIRST_PAGES)).digest()


def _places(area: LogArea) -> tuple[tuple[int, int], ...]:
    """Two parts of the journal; neither holds a power of two, where a restart page is looked for."""
    power = _PAGE
    while power * 2 < area.size:
        power *= 2
    if power < 4 * _FIRST_PAGES:
        return ()
    return ((power + _PAGE, area.size // SECTOR * SECTOR), (power // 2 + _PAGE, power))
