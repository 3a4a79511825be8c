"""Moves files by name only: each has at least one name at any moment, and what a cut may leave is known.

A file gets its new name, that is made durable and read back, and only then loses its old one. ntfs-3g has
no atomic rename: its own is these same two steps without a flush between them.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import PathError, find_entry, find_inside
from unbrick.ntfs_file import read_short_name
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.file_state import (
    expect_same_file,
    expect_settled,
    restore_short_name,
    settle,
    write_three_times,
)
from unbrick.repair.journal_file import JournalFile
from unbrick.repair.record import Entry, RunState

Sync = Callable[[], None]


@dataclass(frozen=True)
class Places:
    """The two places of one file: where it came from, and its name in the run's folder."""

    entry: Entry
    source: Path
    quarantined: Path


@dataclass
class OpenRun:
    """A run that is being worked on. `torn`: traces of a cut were met that only Windows can clear away."""

    root: Path
    journal: JournalFile
    places: tuple[Places, ...]
    torn: bool = False


def open_run(root: Path, folder: Path, journal: JournalFile) -> OpenRun:
    """Find both places of every file of a run; raises NeedsHandsError where a folder is gone or a link."""
    return OpenRun(root, journal, tuple(_locate(root, folder, entry) for entry in journal.header.entries))


def finish_repair(run: OpenRun, sync: Sync) -> None:
    """Bring a prepared or linked run to `repaired`; raises OSError, UnbrickError, every file still named."""
    for place in run.places:
        _give_name(place.source, place.quarantined)
    sync()
    for place in run.places:
        if look(place.source) is not None:
            _expect_both(place)
        expect_same_file(place.quarantined, place.entry)
    if run.journal.state is RunState.PREPARED:
        run.journal.reach(RunState.LINKED, sync)
    for place in run.places:
        if look(place.source) is not None:
            _take_name(place.source)
        settle(place.quarantined, place.entry)
    sync()
    for place in run.places:
        if look(place.source) is not None:
            raise damaged(f"{place.entry.source} is still listed after it was taken away")
        run.torn |= place.quarantined.lstat().st_nlink != place.entry.links_in_quarantine
        expect_settled(place.quarantined, place.entry)
    run.journal.reach(RunState.REPAIRED, sync)


def roll_back_repair(run: OpenRun, sync: Sync) -> None:
    """Bring a prepared or linked run to `rolled-back`: every file where it was, as it was."""
    _name_sources(run, sync)
    _drop_quarantined(run, sync)
    run.journal.reach(RunState.ROLLED_BACK, sync)


def finish_undo(run: OpenRun, sync: Sync) -> None:
    """Bring a run whose undoing has begun to `undone`; raises OSError and UnbrickError."""
    _name_sources(run, sync)
    if run.journal.state is RunState.UNDO_BEGUN:
        run.journal.reach(RunState.UNDO_LINKED, sync)
    _drop_quarantined(run, sync)
    run.journal.reach(RunState.UNDONE, sync)


def roll_back_undo(run: OpenRun, sync: Sync) -> None:
    """Bring a run whose undoing has begun, and lost no name in the quarantine yet, back to `repaired`."""
    for place in run.places:
        expect_same_file(place.quarantined, place.entry)
    for place in run.places:
        if look(place.source) is not None:
            _expect_both(place)
            _take_name(place.source)
        settle(place.quarantined, place.entry)
    sync()
    run.journal.reach(RunState.REPAIRED, sync)


def _locate(root: Path, folder: Path, entry: Entry) -> Places:
    parent = _find_folder(root, entry.parent)
    try:
        found = find_entry(parent, entry.name)
    except PathError as error:
        raise _in_the_way(entry) from error
    return Places(entry, found or parent / entry.name, folder / entry.quarantined_as)


def _find_folder(root: Path, windows_path: str) -> Path:
    try:
        found = find_inside(root, windows_path)
    except PathError as error:
        raise NeedsHandsError(str(error), reason=Reason.SOMETHING_IN_THE_WAY) from error
    if found is None or not stat.S_ISDIR(found.lstat().st_mode):
        raise NeedsHandsError(
            f"the folder {windows_path} is not there any more",
            reason=Reason.NOT_FOUND,
            hint="make it again in Windows, then run unbrick again",
        )
    return found


def _give_name(existing: Path, new: Path) -> None:
    if look(new) is None:
        os.link(existing, new, follow_symlinks=False)


def _take_name(path: Path) -> None:
    """Remove one of a file's names.

    A cut between ntfs-3g's removal of the 8.3 name from the folder and that of the long one makes it refuse
    the second; told first that there is no 8.3 name, it does it.
    """
    try:
        path.unlink()
    except OSError:
        with contextlib.suppress(OSError):
            os.removexattr(path, "system.ntfs_dos_name", follow_symlinks=False)
        path.unlink()


def _expect_both(place: Places) -> None:
    """That two names are of one file which knows both: to take away one it does not know could free it."""
    source, quarantined = place.source.lstat(), place.quarantined.lstat()
    if source.st_ino != quarantined.st_ino or not stat.S_ISREG(source.st_mode):
        raise _in_the_way(place.entry)
    if quarantined.st_nlink <= place.entry.links_in_quarantine:
        raise damaged(f"{place.entry.source} is listed under a name that the file itself does not have")


def _name_sources(run: OpenRun, sync: Sync) -> None:
    """Give every file its former names again beside the one in the quarantine, durably, and check it."""
    undoing = run.journal.state in (RunState.UNDO_BEGUN, RunState.UNDO_LINKED)
    missing = [place for place in run.places if look(place.source) is None]
    for place in missing:
        os.link(place.quarantined, place.source, follow_symlinks=False)
        _restore_short_name(place)
    sync()
    for place in run.places:
        if look(place.quarantined) is not None:
            if undoing or place in missing:
                _expect_both(place)
            elif not place.source.samefile(place.quarantined):
                raise _in_the_way(place.entry)
            restore_short_name(place.source, place.entry)
        if undoing or place in missing:
            expect_same_file(place.source, place.entry)


def _restore_short_name(place: Places) -> None:
    """Set the 8.3 name beside a fresh long one; one that a cut left alone is dropped and set anew."""
    if place.entry.short_name is not None and read_short_name(place.source) == place.entry.short_name:
        with contextlib.suppress(OSError):
            os.removexattr(place.source, "system.ntfs_dos_name", follow_symlinks=False)
    restore_short_name(place.source, place.entry)


def _drop_quarantined(run: OpenRun, sync: Sync) -> None:
    """Take away the names in the quarantine, then put back all that moving has changed."""
    for place in run.places:
        if look(place.quarantined) is None:
            continue
        try:
            place.quarantined.unlink()
        except OSError:
            run.torn = True  # a name that a cut left listed only; the file is whole under its former one
    for place in run.places:
        settle(place.source, place.entry)
    for folder in run.journal.header.folders:
        write_three_times(_find_folder(run.root, folder.path), folder.times)
    sync()
    for place in run.places:
        expect_settled(place.source, place.entry)
        run.torn |= place.source.lstat().st_nlink != place.entry.links


def _in_the_way(entry: Entry) -> NeedsHandsError:
    return NeedsHandsError(
        f"something else is at {entry.source} now",
        reason=Reason.SOMETHING_IN_THE_WAY,
        hint="look at that file; move it away if the former one shall come back",
    )
