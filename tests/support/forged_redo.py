"""A redo record as a cut of the power leaves it, of any change at all: also of one that no run ever makes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from unbrick.disks.change.commit import differences
from unbrick.disks.change.facts import facts_of
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import place_record
from unbrick.disks.change.redo_record import SECTOR, Change, Redo, change_of
from unbrick.disks.ntfs.log import open_log
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import ByteView, open_view, write_dirty

_BOOT_FILE = 8192
_PIECE = 1 << 20


def leave_cut(
    volume: Path, target: Path, run: str, *, done: float = 0.0, older: bool = False
) -> tuple[Change, ...]:
    """Leave on a volume what a run leaves that makes it `target`, and was cut off; gives its changes.

    `done` is the share of its sectors that are written already. `older`: as a version did that kept no more
    than digests of what was there.
    """
    length = volume.stat().st_size
    with open_view(volume, writable=True) as view, open_view(target) as wanted:
        facts = facts_of(view, length)
        area = open_log(view, facts.geometry)
        after = PatchedView(view, length)
        after.take((at, wanted.read(at, min(_PIECE, length - at))) for at in range(0, length, _PIECE))
        found = (
            one for change in differences(after, facts.geometry) for one in _elsewhere(change, area, view)
        )
        changes = tuple(replace(one, before=None) if older else one for one in found)
        placed = place_record(area, facts.log, Redo(run, False, changes))
        area.write(placed.start, placed.record)
        if done:
            write_dirty(view, facts.geometry, dirty=True)
        chance = random.Random(f"{run} {done}")
        for change in changes:
            for index, (_, data) in enumerate(change.sectors()):
                if chance.random() < done:
                    view.write(change.offset + index * SECTOR, data)
    return changes


def leave_carried_out(volume: Path, run: str, places: Sequence[int]) -> None:
    """Leave a record of that run that invents what was in some sectors, and has of them what lies there."""
    with open_view(volume, writable=True) as view:
        facts = facts_of(view, volume.stat().st_size)
        area = open_log(view, facts.geometry)
        changes = tuple(change_of(at, b"\0" * SECTOR, view.read(at, SECTOR)) for at in sorted(places))
        placed = place_record(area, facts.log, Redo(run, False, changes))
        area.write(placed.start, placed.record)


def _elsewhere(change: Change, log: Stream, view: ByteView) -> Iterator[Change]:
    """The sectors of a change that are none of the boot sector's and none of the journal's."""
    for index, (_, data) in enumerate(change.sectors()):
        place = change.offset + index * SECTOR
        if place >= _BOOT_FILE and not log.covers(place):
            yield change_of(place, view.read(place, SECTOR), data)
