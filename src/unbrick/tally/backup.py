"""A copy of a tally, also while it is served: one moment of its database, then all else that it needs.

The register is copied after the database: a station that is in no register would make its reports strange.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.files import atomic_write
from unbrick.tally.acknowledged import Mark, MarkFile, read_mark
from unbrick.tally.check import Checked, Progress, check, no_progress
from unbrick.tally.database_errors import errors_named
from unbrick.tally.ledger import Head, read_head
from unbrick.tally.looking import LookingDatabase
from unbrick.tally.marked import mark_path
from unbrick.tally.new_folder import new_folder
from unbrick.tally.settings import TallyFolder, read_settings

_PAGES_AT_ONCE = 4096
_MOST_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True)
class BackedUp:
    """What was copied: reports, and what a look at the copy found."""

    reports: int
    found: Checked


def back_up(
    directory: Path, out: Path, *, with_authority: bool = False, progress: Progress = no_progress
) -> BackedUp:
    """Copy the tally in `directory` to the new or empty folder `out`, and look the copy over.

    The authority's private key stays where it is unless `with_authority`. Raises UsageError, StoreError,
    FailedError; then `out` is empty again.
    """
    folder, _ = read_settings(directory)
    with new_folder(out):
        copy = TallyFolder(out)
        mark = read_mark(mark_path(folder.database))
        head = _copy_database(folder.database, copy.database, progress)
        _write_mark(copy.database, head)
        for path in _files(folder):
            _copy_file(path, out / path.name)
        if with_authority:
            _copy_authority(folder, copy)
        _copy_file(folder.settings, copy.settings)  # last: its presence says that the folder is complete
        # Held against the mark of the tally: what that lost before, the copy has not either.
        found = check(LookingDatabase(copy.database), mark, counting=False, progress=progress)
    return BackedUp(head.events, found)


def _copy_database(source: Path, target: Path, progress: Progress) -> Head:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with LookingDatabase(source) as looking, looking.read() as connection, errors_named(target):
        head = read_head(connection)
        own = connection.connection.driver_connection
        assert isinstance(own, sqlite3.Connection)
        copy = sqlite3.connect(target)
        try:
            own.backup(
                copy,
                pages=_PAGES_AT_ONCE,
                progress=lambda _, left, pages: progress("copying", pages - left, pages),
            )
        finally:
            copy.close()
    return head


def _write_mark(database: Path, head: Head) -> None:
    """The copy's own mark: what was acknowledged when it was made."""
    file = MarkFile(mark_path(database))
    try:
        with file.held():
            file.write(Mark(head))
    finally:
        file.close()


def _files(folder: TallyFolder) -> list[Path]:
    """What else lies in the folder and is not made anew by who serves it: keys, register, settings, audit."""
    left_out = {folder.settings, folder.condition, folder.lock, folder.authority, mark_path(folder.database)}
    return [
        path
        for path in sorted(folder.path.iterdir())
        if path not in left_out
        and not path.name.startswith((".", folder.database.name))
        and stat.S_ISREG(path.lstat().st_mode)
    ]


def _copy_file(source: Path, target: Path) -> None:
    descriptor = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(_MOST_BYTES)
    public = {".pub", ".yaml"}
    atomic_write(target, data, mode=0o644 if source.suffix in public else 0o600)


def _copy_authority(folder: TallyFolder, copy: TallyFolder) -> None:
    if not folder.authority.exists():
        raise FailedError(
            f"the authority's key is not in {folder.path}",
            hint="copy it from where it is kept, or leave it there",
        )
    target = copy.path / folder.authority.relative_to(folder.path)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    _copy_file(folder.authority, target)
