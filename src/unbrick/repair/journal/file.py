"""One run's journal on the disk: found, read whole, written whole. What it says is `document.py`'s."""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from unbrick.model import RunState
from unbrick.repair.journal import document, version1
from unbrick.repair.journal.document import MOST_BYTES, Journal
from unbrick.repair.quarantine import JOURNAL, check_run_folder, find_run_folders, holds_files, journal_in
from unbrick.repair.trust import JournalError

_GZIP = 31  # a window of 32 KiB, in the form that gunzip reads


def now() -> str:
    """The time as a journal writes it."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class JournalFile:
    """An open journal: what it says, and its bytes, not compressed."""

    path: Path
    journal: Journal
    data: bytes

    @property
    def folder(self) -> Path:
        """The run's folder in the quarantine."""
        return self.path.parent

    def reach(self, state: RunState) -> None:
        """Write what has become of the run, in the version that the journal has; raises OSError."""
        moment = now()
        self.journal = replace(self.journal, state=state, when=moment)
        if version1.is_version1(self.data):
            self.data = version1.mark(self.data, state, moment)
        else:
            self.data = document.encode(self.journal)
        _write(self.path, self.data)


def create_journal(folder: Path, journal: Journal) -> None:
    """Write into the empty journal that `make_run_folder` left; raises OSError."""
    _write(folder / JOURNAL, document.encode(journal))


def find_journals(root: Path, run: str | None = None) -> Iterator[JournalFile]:
    """Every journal of a volume, the newest run first, or that of one run; each is opened as it is asked for.

    Raises as `find_run_folders` and `open_journal` do.
    """
    for name, folder in find_run_folders(root):
        opened = open_journal(folder) if run in {None, name} else None
        if opened is not None:
            yield opened


def open_journal(folder: Path) -> JournalFile | None:
    """The journal in a run's folder; None where there is none and no file lies beside it.

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
    if journal.run != folder.name:
        raise JournalError(f"the one in {folder.name} is of another run")
    return JournalFile(path, journal, data)


def parse(data: bytes) -> Journal | None:
    """What the bytes of a journal of any version say, as `document.parse`."""
    if len(data) <= MOST_BYTES and version1.is_version1(data):
        return version1.parse(data)
    return document.parse(data)


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


def _write(path: Path, data: bytes) -> None:
    """Write all of a journal, compressed: it then needs no cluster, for most have room in their record."""
    packer = zlib.compressobj(zlib.Z_BEST_COMPRESSION, wbits=_GZIP)
    packed = data if path.name != JOURNAL else packer.compress(data) + packer.flush()
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    try:
        if os.pwrite(descriptor, packed, 0) != len(packed):
            raise OSError(errno.ENOSPC, "the journal could not be written whole", str(path))
    finally:
        os.close(descriptor)
