"""Brings a change to a volume whole: a power cut at any moment leaves all of it or nothing.

The steps, each durable before the next: the redo record; the dirty flag; the change; the flag as it was; the
record removed. Until the first is whole nothing was done, and from then on `complete` can do all the rest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from unbrick.disks.change.facts import VolumeFacts
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import (
    Pending,
    are_allowed,
    find_former,
    place_record,
    too_old_to_judge,
)
from unbrick.disks.change.redo_record import Change, Redo, compare
from unbrick.disks.ntfs.log import LogState, open_log
from unbrick.disks.ntfs.structures import (
    RECORD_VOLUME,
    ByteView,
    FileView,
    Geometry,
    damaged,
    open_view,
    read_dirty,
    write_dirty,
)
from unbrick.disks.plain import PlainVolume

Written = Iterable[tuple[int, bytes]]
"""Places on a volume and the bytes to write there, in order."""

_PIECE = 4096


def commit(
    plain: PlainVolume,
    facts: VolumeFacts,
    changes: Sequence[Change],
    *,
    run: str,
    dirty_after: bool,
) -> None:
    """Write changes (of `find_changes`) to the disk, and leave the dirty flag as `dirty_after` says.

    Raises NeedsHandsError (too-many-files) with nothing written; FailedError where the disk returns an error,
    which the next run may get over.
    """
    with open_view(plain.path, writable=True) as view:
        area = open_log(view, facts.geometry)
        if not changes:
            if read_dirty(view, facts.geometry) is not dirty_after:
                _mark(plain, view, facts.geometry, dirty=dirty_after)
            return
        placed = place_record(area, facts.log, Redo(run, dirty_after, tuple(changes)))
        for place, length in placed.stale:
            area.write(place, b"\xff" * length)
        area.write(placed.start, placed.record)
        plain.sync()
        _carry_out(plain, view, facts.geometry, changes, dirty_after=dirty_after)
        area.write(placed.start, placed.former)
        plain.sync()


def find_changes(before: ByteView, after: PatchedView, geometry: Geometry) -> tuple[Change, ...]:
    """The sectors in which a volume changes, without the dirty flag's record.

    Raises NeedsHandsError (damaged-volume) where the driver would change the boot sector or the journal.
    """
    changes = tuple(differences(after, geometry))
    if not are_allowed(changes, geometry, open_log(before, geometry)):
        raise damaged("the NTFS driver would change the boot sector or the journal")
    return changes


def foresee_commit(
    view: ByteView, facts: VolumeFacts, changes: Sequence[Change], run: str
) -> list[tuple[int, int]]:
    """Where `commit` would write to the journal meanwhile (offset and length); raises what it would."""
    if not changes:
        return []
    area = open_log(view, facts.geometry)
    placed = place_record(area, facts.log, Redo(run, True, tuple(changes)))
    written = [(placed.start, len(placed.record)), *placed.stale]
    return [place for start, length in written for place in area.places(start, length)]


def complete(plain: PlainVolume, facts: VolumeFacts, pending: Pending, *, dirty_after: bool) -> None:
    """Finish on the disk what a power cut, or an error of the disk, has stopped; raises FailedError.

    Leaves the dirty flag as `dirty_after` says; the record's own word on it does not count.
    """
    with open_view(plain.path, writable=True) as view:
        area, redo = open_log(view, facts.geometry), pending.redo
        # After a flush that failed, the kernel shows data that never reached the disk: write all of it again.
        area.write(pending.start, area.read(pending.start, pending.length))
        plain.sync()
        _carry_out(plain, view, facts.geometry, redo.changes, dirty_after=dirty_after)
        # The former content is lost; a page of the journal that was never written to looks like this.
        area.write(pending.start, b"\xff" * pending.length)
        plain.sync()


def write_replayed(plain: PlainVolume, facts: VolumeFacts, written: Written) -> None:
    """Bring to the disk what replaying the journal writes, the journal itself last; raises FailedError."""
    with open_view(plain.path, writable=True) as view:
        # Until the end, the journal can be replayed again, and asks for it: of its restart pages, the valid
        # one is written when the other is on the disk.
        area = open_log(view, facts.geometry)
        piece = min(facts.geometry.cluster, _PIECE)  # none is partly in the journal
        steps: tuple[list[tuple[int, bytes]], ...] = ([], [], [], [])
        for offset, cluster in written:
            former = view.read(offset, max(0, min(len(cluster), facts.geometry.length - offset)))
            for at in range(0, len(former), piece):
                if former[at : at + piece] != (data := cluster[: len(former)][at : at + piece]):
                    steps[_step(area.position_of(offset + at), facts.log)].append((offset + at, data))
        for step in steps:
            for place, data in step:
                view.write(place, data)
            if step:
                plain.sync()


def _step(position: int | None, log: LogState) -> int:
    """The step in which a place is written, by its position in the journal: its closing pages come last."""
    if position is None:
        return 0
    for number, start in enumerate((log.other_place, log.place), 1):
        if start <= position < start + log.page:
            return number
    return 3


def show_completed(view: ByteView, facts: VolumeFacts, pending: Pending) -> None:
    """Write to a copy of the volume what its record says, the dirty flag included."""
    _apply(view, pending.redo.changes)
    write_dirty(view, facts.geometry, pending.redo.dirty_after)


def show_former(view: ByteView, pending: Pending) -> None:
    """Write to a copy of the volume what was there before the change.

    Raises NeedsHandsError (damaged-volume) where the record does not contain it.
    """
    former = find_former(view, pending)
    if former is None:
        raise too_old_to_judge()
    for place, data in former:
        view.write(place, data)


def _carry_out(
    plain: PlainVolume, view: FileView, geometry: Geometry, changes: Iterable[Change], *, dirty_after: bool
) -> None:
    _mark(plain, view, geometry, dirty=True)
    _apply(view, changes)
    plain.sync()
    _mark(plain, view, geometry, dirty=dirty_after)


def _apply(view: ByteView, changes: Iterable[Change]) -> None:
    for change in changes:
        view.write(change.offset, change.data)


def _mark(plain: PlainVolume, view: FileView, geometry: Geometry, *, dirty: bool) -> None:
    write_dirty(view, geometry, dirty)
    plain.sync()


def differences(after: PatchedView, geometry: Geometry) -> Iterator[Change]:
    """The sectors that a view changes, without the dirty flag's record: the flag is set separately."""
    flag = RECORD_VOLUME * geometry.record
    kept = [(table + flag, table + flag + geometry.record) for table in (geometry.mft, geometry.mirror)]
    for offset, former, page in after.changed():
        data = bytearray(page)
        for start, end in kept:
            first, last = max(start - offset, 0), min(end - offset, len(data))
            if first < last:
                data[first:last] = former[first:last]
        yield from compare(offset, former, bytes(data))
