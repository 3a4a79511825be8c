"""One run's journal on the disk: read whole, written a line at a time.

What its lines mean is `journal.py`'s.
"""

from __future__ import annotations

import errno
import os
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick.repair.journal.fields import JournalError
from unbrick.repair.journal.journal import MOST_BYTES, check_of, encode_header, encode_mark, parse
from unbrick.repair.journal.record import Header, RunState
from unbrick.repair.quarantine import JOURNAL, check_run_folder, holds_files, journal_in

_GZIP = 31  # a window of 32 KiB, in the form that gunzip reads


def now() -> str:
    """The time as a journal writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class JournalFile:
    """An open journal: what it says, and its sound lines as they are."""

    path: Path
    header: Header
    state: RunState
    when: str
    lines: bytes
    check: str

    def reach(self, state: RunState) -> None:
        """Write what the run has done; raises OSError."""
        moment = now()
        line = encode_mark(state, moment, self.check)
        self.lines += line
        self.check = check_of(line)
        self.state, self.when = state, moment
        _write(self.path, self.lines)


def create_journal(folder: Path, header: Header) -> None:
    """Write of a run that was a repair into the empty journal that `make_run_folder` left; raises OSError."""
    line = encode_header(header)
    _write(folder / JOURNAL, line + encode_mark(RunState.REPAIRED, now(), check_of(line)))


def open_journal(folder: Path) -> JournalFile | None:
    """The journal in a run's folder; None where it is none and tells of no file.

    Raises NeedsHandsError where the folder is not ours (foreign-quarantine) or what it says cannot be
    believed (bad-journal).
    """
    check_run_folder(folder)
    path = journal_in(folder)
    data = _read(path)
    journal = None if data is None else parse(data)
    if journal is None or data is None:
        if holds_files(folder):
            raise JournalError(f"the one in {folder.name} is torn or unreadable, and files lie beside it")
        return None
    if journal.header.run != folder.name:
        raise JournalError(f"the one in {folder.name} is of another run")
    lines = data[: journal.length]
    return JournalFile(path, journal.header, journal.state, journal.when, lines, journal.check)


def _read(path: Path) -> bytes | None:
    """What a journal says, at most one byte more than it may; None where it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "rb") as stream:
            data = stream.read(MOST_BYTES + 1)
        if path.name != JOURNAL:
            return data
        return zlib.decompressobj(_GZIP).decompress(data, MOST_BYTES + 1)
    except (OSError, zlib.error):
        return None


def _write(path: Path, lines: bytes) -> None:
    """Write all of a journal, compressed: it then needs no cluster, for most have room in their record."""
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=_GZIP)
    data = lines if path.name != JOURNAL else packer.compress(lines) + packer.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    try:
        if os.pwrite(descriptor, data, 0) != len(data):
            raise OSError(errno.ENOSPC, "the journal could not be written whole", str(path))
    finally:
        os.close(descriptor)
