"""Moves files by name only: each has at least one name at any moment, and what a cut may leave is known.

A file gets its new name, that is made durable and read back, and only then loses its old one. ntfs-3g has
no atomic rename: its own is these same two steps without a flush between them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import PathError, find_entry, find_inside
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.file_state import (
    expect_same_file,
    expect_settled,
    settle,
    write_three_times,
)
from unbrick.repair.journal_file import JournalFile
from unbrick.repair.record import Entry, RunState
from unbrick.repair.short_name import give_short_name

Sync = Callable[[], None]


@dataclass(frozen=True)
class Places:
    """The two places of one file: where it came from, and its name in the run's folder."""

    entry: Entry
    source: Path
    quarantined: Path

    @property
    def lone_short_name(self) -> Path | None:
        """Where the file is by its 8.3 name, if anything is."""
        if self.entry.short_name is None:
            return None
        path = self.source.parent / self.entry.short_name
        return path if look(path) is not None else None

    def find_all(self) -> tuple[Path, ...]:
        """Where the file is: under its two names, or else its 8.3 one; empty where it is nowhere."""
        found = tuple(path for path in (self.quarantined, self.source) if look(path) is not None)
        alone = None if found else self.lone_short_name
        return found if alone is None else (alone,)


@dataclass
class OpenRun:
    """A run that is being worked on.

    `torn`: traces of a cut were met that Windows clears away when it checks the volume. `notes`: sentences
    about traces that such a check would rather make worse.
    """

    root: Path
    journal: JournalFile
    places: tuple[Places, ...]
    torn: bool = False
    notes: list[str] = field(default_factory=list)


def open_run(root: Path, folder: Path, journal: JournalFile) -> OpenRun:
    """Find both places of every file of a run; raises NeedsHandsError where a folder is gone or a link."""
    return OpenRun(root, journal, tuple(_locate(root, folder, entry) for entry in journal.header.entries))


def adopt_lone_short_names(run: OpenRun) -> None:
    """Give a file its long name back that an undo was about to take away for a moment when it was cut.

    ntfs-3g sets an 8.3 name by removing the long one and adding it again. Raises OSError.
    """
    for place in run.places:
        if look(place.source) is None and look(place.quarantined) is None:
            alone = place.lone_short_name
            if alone is not None:
                os.link(alone, place.source, follow_symlinks=False)
                run.torn = True


def finish_repair(run: OpenRun, sync: Sync) -> None:
    """Bring a prepared or linked run to `repaired`; raises OSError, UnbrickError, every file still named."""
    for place in run.places:
        _give_name(place.source, place.quarantined)
    sync()
    for place in run.places:
        if look(place.source) is not None:
            _expect_both(place, place.entry.links_in_quarantine)
        expect_same_file(place.quarantined, place.entry)
    if run.journal.state is RunState.PREPARED:
        run.journal.reach(RunState.LINKED, sync)
    for place in run.places:
        if look(place.source) is not None:
            _take_source(place)
        settle(place.quarantined, place.entry)
    sync()
    for place in run.places:
        if look(place.source) is not None:
            raise damaged(f"{place.entry.source} is still listed after it was taken away")
        if place.quarantined.lstat().st_nlink > place.entry.links_in_quarantine:
            run.notes.append(
                f"The cut left {place.entry.source} with a former name that its folder no longer lists. "
                "If Windows checks this volume it may list it again: run unbrick once more then."
            )
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
            _expect_both(place, place.entry.links_in_quarantine)
            _take_source(place)
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
    """Give a file one more name. Where a cut left one that is not listed, ntfs-3g does so and says EIO."""
    if look(new) is None:
        try:
            os.link(existing, new, follow_symlinks=False)
        except OSError as error:
            if error.errno != errno.EIO or look(new) is None:
                raise


def _take_source(place: Places) -> None:
    """Remove a file's former names.

    A cut between ntfs-3g's removal of the 8.3 name from the folder and that of the long one makes it refuse
    the second, as it misses the first; it does it once something is listed under the 8.3 name again. What
    counts is what is listed then: one name is left that is not, and so ntfs-3g says EIO.
    """
    try:
        place.source.unlink()
    except OSError:
        if look(place.source) is None:
            return
        short_name = place.entry.short_name
        if short_name is None or look(place.source.parent / short_name) is not None:
            raise
        with contextlib.suppress(OSError):
            os.link(place.quarantined, place.source.parent / short_name, follow_symlinks=False)
        with contextlib.suppress(OSError):
            place.source.unlink()


def _expect_both(place: Places, links_of_one: int) -> None:
    """That two names are of one file which knows both: to take away one it does not know could free it."""
    source, quarantined = place.source.lstat(), place.quarantined.lstat()
    if source.st_ino != quarantined.st_ino or not stat.S_ISREG(source.st_mode):
        raise _in_the_way(place.entry)
    if quarantined.st_nlink <= links_of_one:
        raise damaged(f"{place.entry.source} is listed under a name that the file itself does not have")


def _name_sources(run: OpenRun, sync: Sync) -> None:
    """Give every file its former long name again beside the one in the quarantine, durably, and check it."""
    undoing = run.journal.state in (RunState.UNDO_BEGUN, RunState.UNDO_LINKED)
    missing = [place for place in run.places if look(place.source) is None]
    links = {place: place.entry.links_in_quarantine for place in run.places}
    for place in missing:
        links[place] = place.quarantined.lstat().st_nlink
        _give_name(place.quarantined, place.source)
    sync()
    for place in run.places:
        if look(place.quarantined) is not None:
            if undoing or place in missing:
                _expect_both(place, links[place])
            elif not place.source.samefile(place.quarantined):
                raise _in_the_way(place.entry)
        if undoing or place in missing:
            expect_same_file(place.source, place.entry)


def _drop_quarantined(run: OpenRun, sync: Sync) -> None:
    """Take away the names in the quarantine, then put back all that moving has changed.

    The 8.3 name comes after: ntfs-3g gives none to a file with two long names.
    """
    for place in run.places:
        if look(place.quarantined) is not None:
            try:
                place.quarantined.unlink()
            except OSError as error:
                listed = look(place.quarantined) is not None
                if listed and place.source.lstat().st_nlink > _links_before(run, place):
                    raise damaged(
                        f"{place.entry.source} counts a name in the quarantine that it does not have"
                    ) from error
                run.torn = True  # a name that a cut left listed only; the file is whole under its former one
    sync()
    links = {}
    for place in run.places:
        named = place.entry.short_name is None or give_short_name(place.source, place.entry.short_name)
        links[place] = place.entry.links if named else place.entry.links_in_quarantine
        settle(place.source, place.entry)
    for folder in run.journal.header.folders:
        write_three_times(_find_folder(run.root, folder.path), folder.times)
    sync()
    for place in run.places:
        expect_settled(place.source, place.entry)
        counted = place.source.lstat().st_nlink
        if counted > links[place] and run.journal.state in (RunState.PREPARED, RunState.LINKED):
            # Its names may lie in a record that was never written: moving it again would lose the others.
            raise damaged(f"{place.entry.source} counts more names than are listed")
        run.torn |= counted != links[place]


def _links_before(run: OpenRun, place: Places) -> int:
    """How many names a file has at most when none is left in the quarantine, and no 8.3 name is back yet."""
    undoing = run.journal.state in (RunState.UNDO_BEGUN, RunState.UNDO_LINKED)
    return place.entry.links_in_quarantine if undoing else place.entry.links


def _in_the_way(entry: Entry) -> NeedsHandsError:
    return NeedsHandsError(
        f"something else is at {entry.source} now",
        reason=Reason.SOMETHING_IN_THE_WAY,
        hint="look at that file; move it away if the former one shall come back",
    )
