"""Moves files by name only, on a copy of the volume: what fails on the way never reaches the disk.

`disks/change/rehearsal.py` gives that copy, and brings what was done on it to the disk whole or not at all.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.files import PathError, find_entry, find_inside
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.file_state import (
    despite_unlisted_names,
    expect_same_file,
    expect_settled,
    settle,
    write_three_times,
)
from unbrick.repair.journal.record import Entry, Header
from unbrick.repair.short_name import give_short_name


@dataclass(frozen=True)
class Places:
    """The two places of one file: where it came from, and its name in the run's folder."""

    entry: Entry
    source: Path
    quarantined: Path

    @property
    def short_name_is_taken(self) -> bool:
        """Whether something is where its 8.3 name would come back."""
        name = self.entry.short_name
        return name is not None and look(self.source.parent / name) is not None


def find_places(root: Path, folder: Path, header: Header) -> tuple[Places, ...]:
    """Both places of every file of a run; raises NeedsHandsError where a folder is gone or a link."""
    return tuple(_locate(root, folder, entry) for entry in header.entries)


def move_away(places: tuple[Places, ...]) -> None:
    """Move every file into the quarantine, otherwise as it was; raises OSError, NeedsHandsError."""
    for place in places:
        _move(place.source, place.quarantined)
        settle(place.quarantined, place.entry)


def put_back(root: Path, header: Header, places: tuple[Places, ...]) -> None:
    """Move every file back, with all that moving has changed, and read it; raises OSError, UnbrickError.

    Each was read before, unchanged: where it is not any more, the driver has written over it on this copy.
    """
    for place in places:
        _move(place.quarantined, place.source)
        if place.entry.short_name is not None:
            give_short_name(place.source, place.entry.short_name)
        settle(place.source, place.entry)
    for folder in header.folders:
        write_three_times(_find_folder(root, folder.path), folder.times)
    for place in places:
        try:
            expect_same_file(place.source, place.entry)
        except FailedError as error:
            raise damaged(f"putting a file back would change it: {error.message}") from error
        expect_settled(place.source, place.entry)


def _locate(root: Path, folder: Path, entry: Entry) -> Places:
    parent = _find_folder(root, entry.parent)
    try:
        found = find_entry(parent, entry.name)
    except PathError as error:
        raise NeedsHandsError(
            f"something else is at {entry.source} now",
            reason=Reason.SOMETHING_IN_THE_WAY,
            hint="look at that file; to get the former one back, move it away and run unbrick again",
        ) from error
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


def _move(existing: Path, new: Path) -> None:
    """One name more, then one less: never over another file, which renaming would be."""
    before = existing.lstat()
    with despite_unlisted_names(lambda: look(new) is not None):
        os.link(existing, new, follow_symlinks=False)
    after = new.lstat()
    if after.st_ino != before.st_ino or after.st_nlink <= before.st_nlink:
        raise damaged(f"{existing.name} is listed under a name that the file itself does not have")
    with despite_unlisted_names(lambda: look(existing) is None):
        existing.unlink()
    if look(existing) is not None:
        raise damaged(f"{existing.name} is still listed after it was taken away")
