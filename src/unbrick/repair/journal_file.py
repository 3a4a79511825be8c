"""One run's journal on the disk: read whole, written a line at a time, each durable before the next step.

What its lines mean is `journal.py`'s.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick.repair.journal import MOST_BYTES, Journal, check_of, encode_header, encode_mark, parse
from unbrick.repair.journal_fields import JournalError
from unbrick.repair.quarantine import JOURNAL, check_run_folder
from unbrick.repair.record import Header, RunState


def now() -> str:
    """The time as a journal writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class JournalFile:
    """An open journal: what it says, and where its next line goes. `length` excludes a torn tail."""

    path: Path
    header: Header
    state: RunState
    length: int
    check: str

    def reach(self, state: RunState, sync: Callable[[], None]) -> None:
        """Write durably that the run has reached a state; raises OSError."""
        line = encode_mark(state, now(), self.check)
        _write_at(self.path, self.length, line)
        sync()
        self.state = state
        self.length += len(line)
        self.check = check_of(line)


def create_journal(folder: Path, header: Header, sync: Callable[[], None]) -> JournalFile:
    """Write the header durably into the empty journal that `make_run_folder` left; raises OSError."""
    line = encode_header(header)
    path = folder / JOURNAL
    _write_at(path, 0, line)
    sync()
    return JournalFile(path, header, RunState.PREPARED, len(line), check_of(line))


def open_journal(folder: Path) -> JournalFile | None:
    """The journal in a run's folder; None where it was cut off before its header was whole.

    Raises NeedsHandsError where the folder is not ours (foreign-quarantine) or what it says cannot be
    believed (bad-journal).
    """
    check_run_folder(folder)
    journal = read_journal(folder / JOURNAL)
    if journal is None:
        if any(path.name != JOURNAL for path in folder.iterdir()):
            raise JournalError(f"the one in {folder.name} is torn, and files lie beside it")
        return None
    if journal.header.run != folder.name:
        raise JournalError(f"the one in {folder.name} is of another run")
    return JournalFile(folder / JOURNAL, journal.header, journal.state, journal.length, journal.check)


def read_journal(path: Path) -> Journal | None:
    """Parse a journal file; see `journal.parse`. Raises JournalError where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise JournalError(f"it cannot be read ({error.strerror})") from error
    return parse(data)


def _write_at(path: Path, offset: int, line: bytes) -> None:
    """Write a line after the last sound one; what a cut left behind that is dropped first."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        if os.fstat(descriptor).st_size != offset:
            os.ftruncate(descriptor, offset)
        written = os.pwrite(descriptor, line, offset)
        if written != len(line):
            raise OSError(errno.ENOSPC, "a line of the journal could not be written whole", str(path))
    finally:
        os.close(descriptor)
