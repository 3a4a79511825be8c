"""One run's journal on the disk: read whole, written a line at a time.

What its lines mean is `journal.py`'s.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick.repair.journal import MOST_BYTES, check_of, encode_header, encode_mark, parse
from unbrick.repair.journal_fields import JournalError
from unbrick.repair.quarantine import JOURNAL, check_run_folder, holds_files
from unbrick.repair.record import Header, RunState


def now() -> str:
    """The time as a journal writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class JournalFile:
    """An open journal: what it says, and where its next line goes. `length` is that of its sound lines."""

    path: Path
    header: Header
    state: RunState
    when: str
    length: int
    check: str

    def reach(self, state: RunState) -> None:
        """Write what the run has done; raises OSError."""
        moment = now()
        line = encode_mark(state, moment, self.check)
        _write_at(self.path, self.length, line)
        self.state, self.when = state, moment
        self.length += len(line)
        self.check = check_of(line)


def create_journal(folder: Path, header: Header) -> None:
    """Write of a run that was a repair into the empty journal that `make_run_folder` left; raises OSError."""
    line = encode_header(header)
    _write_at(folder / JOURNAL, 0, line + encode_mark(RunState.REPAIRED, now(), check_of(line)))


def open_journal(folder: Path) -> JournalFile | None:
    """The journal in a run's folder; None where it is none and tells of no file.

    Raises NeedsHandsError where the folder is not ours (foreign-quarantine) or what it says cannot be
    believed (bad-journal).
    """
    check_run_folder(folder)
    data = _read(folder / JOURNAL)
    journal = None if data is None else parse(data)
    if journal is None:
        if holds_files(folder):
            raise JournalError(f"the one in {folder.name} is torn or unreadable, and files lie beside it")
        return None
    if journal.header.run != folder.name:
        raise JournalError(f"the one in {folder.name} is of another run")
    return JournalFile(
        folder / JOURNAL, journal.header, journal.state, journal.when, journal.length, journal.check
    )


def _read(path: Path) -> bytes | None:
    """At most one byte more than a journal may have; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            return stream.read(MOST_BYTES + 1)
    except OSError:
        return None


def _write_at(path: Path, offset: int, line: bytes) -> None:
    """Write after the last sound line; what lies behind that is dropped first."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_size != offset:
            os.ftruncate(descriptor, offset)
        written = os.pwrite(descriptor, line, offset)
        if written != len(line):
            raise OSError(errno.ENOSPC, "a line of the journal could not be written whole", str(path))
    finally:
        os.close(descriptor)
