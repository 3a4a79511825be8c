"""A copy of a tally, also while it is served: one moment of its database, then the files that `_NEEDED` and
`_ALSO` name, and no other: the authority's key may be anywhere.

The register is copied after the database: a report whose station is in no register would look forged.
"""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.errors import FailedError, UnbrickError
from unbrick.files import NoPlainFileError, atomic_write, open_plain
from unbrick.tally.books.acknowledged import Mark, MarkFile, Trust, read_mark, read_trust
from unbrick.tally.books.database_errors import errors_named
from unbrick.tally.books.ledger import Head, read_head
from unbrick.tally.books.lost_reports import find_loss, mark_path
from unbrick.tally.folder import AUTHORITY_KEY_NAME, TallyFolder, read_settings
from unbrick.tally.new_places import Contents, new_folder
from unbrick.tally.store.looking import LookingDatabase
from unbrick.tally.upkeep.check import Checked, Progress, check, look_for_mark, no_progress

_PAGES_AT_ONCE = 4096
_MOST_BYTES = 1024 * 1024 * 1024
_NEEDED = ("authority.pub", "host_key", "host_key-cert.pub", "stations.json")
_ALSO = re.compile(
    r"station|station-cert\.pub|unbrick\.yaml|today\.json|inventory-[0-9]\.csv|(audit|refusals)\.log(\.[0-9]+)?"
)
_AUTHORITY = rf"authority/|(authority/)?{AUTHORITY_KEY_NAME}|authority"
_CONTENTS = Contents(
    rf"{'|'.join(map(re.escape, _NEEDED))}|{_ALSO.pattern}|{_AUTHORITY}"
    r"|tally\.db(-wal|-shm|-journal)?|tally\.mark|settings\.json"
)
_MADE_ANEW = re.compile(
    r"\..*|tally\.db(-wal|-shm|-journal)?|tally\.mark|settings\.json|condition|serve\.lock|reserve|authority"
)


@dataclass(frozen=True)
class BackedUp:
    """`found` is what a check of the copy found; `notes` are about files, and no fault."""

    reports: int
    found: Checked
    notes: list[str] = field(default_factory=list)


def back_up(
    directory: Path, out: Path, *, with_authority: bool = False, progress: Progress = no_progress
) -> BackedUp:
    """Copy the tally in `directory` to the new or empty folder `out`, and check the copy.

    The authority's private key is left out unless `with_authority`. Raises UsageError, StoreError,
    FailedError; then `out` is empty again.
    """
    folder, _ = read_settings(directory)
    with new_folder(out, _CONTENTS):
        copy = TallyFolder(out)
        mark, trust = read_mark(mark_path(folder.database)), read_trust(mark_path(folder.database))
        head = _copy_database(folder.database, copy.database, progress)
        found = check(LookingDatabase(copy.database), mark, counting=False, progress=progress)
        with LookingDatabase(folder.database) as looking:
            look_for_mark(looking, found)
        _write_mark(copy.database, head, mark, trust, found)
        files = _Files(folder.path, out, found)
        files.copy_all_but_settings()
        if with_authority:
            _copy_authority(folder, copy, files)
        files.copy(folder.settings.name, needed=True)  # last: a folder with settings is complete
    return BackedUp(head.events, found, files.notes)


def _copy_database(source: Path, target: Path, progress: Progress) -> Head:
    os.close(os.open(target, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    with LookingDatabase(source) as looking, looking.read() as connection, errors_named(target):
        head = read_head(connection)
        own = connection.connection.driver_connection
        assert isinstance(own, sqlite3.Connection)
        with closing(sqlite3.connect(target)) as copy:
            own.backup(
                copy,
                pages=_PAGES_AT_ONCE,
                progress=lambda _, left, pages: progress("copying", pages - left, pages),
            )
    return head


def _write_mark(database: Path, head: Head, mark: Mark | None, trust: Trust | None, found: Checked) -> None:
    """The copy's own mark: what was acknowledged when it was made.

    Where the tally had lost reports by then, the copy gets the tally's mark, so that it says so too.
    """
    if found.lacks_mark:
        return
    with LookingDatabase(database) as copy, copy.read() as connection:
        is_whole = mark is None or find_loss(connection, mark) is None
    with closing(MarkFile(mark_path(database))) as file, file.held():
        whole = Mark(head, folder=mark.folder if mark else "")
        file.write(whole if mark is None or is_whole else mark)
        if trust is not None:  # an older register is an older one in the copy too
            file.write_trust(trust)


class _Files:
    """Copies the other files; says which are missing, links, or no files of a tally."""

    def __init__(self, source: Path, target: Path, found: Checked) -> None:
        self._source = source
        self._target = target
        self._found = found
        self.notes: list[str] = []

    def copy_all_but_settings(self) -> None:
        for name in _NEEDED:
            self.copy(name, needed=True)
        for name in sorted(path.name for path in self._source.iterdir()):
            if _ALSO.fullmatch(name):
                self.copy(name)
            elif name == AUTHORITY_KEY_NAME:
                self.notes.append(f"{name}, a private key of an authority, was left out")
            elif name not in _NEEDED and not _MADE_ANEW.fullmatch(name):
                self.notes.append(f"{name}, no file of a tally, was left out")

    def copy(self, name: str, *, needed: bool = False) -> None:
        try:
            data = self.read(self._source / name)
        except FileNotFoundError:
            without = "; the copy cannot be served without it" if needed else ""
            if needed or (self._source / name).is_symlink():
                self._found.complain(f"{self._source / name} is missing, or a link to nowhere{without}")
        except OSError as error:
            self._found.complain(f"{self._source / name} could not be copied: {error.strerror or error}")
        except UnbrickError as error:
            self._found.complain(error.message)
        else:
            public = {".pub", ".yaml"}
            atomic_write(self._target / name, data, mode=0o644 if Path(name).suffix in public else 0o600)

    def read(self, path: Path) -> bytes:
        """The content of a file, or of a link's target where the tally's owner also owns that."""
        try:
            stream = open_plain(path, follow=True)
        except NoPlainFileError as error:
            raise FailedError(f"{path} could not be copied: it is no file") from error
        with stream:
            if path.is_symlink():
                self._judge_link(path, os.fstat(stream.fileno()))
            data = stream.read(_MOST_BYTES + 1)
        if len(data) > _MOST_BYTES:
            raise FailedError(f"{path} could not be copied: it is larger than 1 GiB")
        return data

    def _judge_link(self, path: Path, state: os.stat_result) -> None:
        # The owner of the folder could make root copy any file by a link.
        owner = self._source.stat().st_uid
        if owner not in {os.geteuid(), 0, state.st_uid}:
            raise FailedError(f"{path} could not be copied: it is a link to a file of somebody else")
        self.notes.append(f"{path.name} is a link; what it leads to was copied")


def _copy_authority(folder: TallyFolder, copy: TallyFolder, files: _Files) -> None:
    if not folder.authority.exists():
        raise FailedError(
            f"the authority's key is not in {folder.path}",
            hint="copy it from where it is kept, or leave it there",
        )
    target = copy.path / folder.authority.relative_to(folder.path)
    target.parent.mkdir(mode=0o700, exist_ok=True)
    atomic_write(target, files.read(folder.authority))
