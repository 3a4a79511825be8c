"""The mark `tally.mark`: what was acknowledged, so that a database that has less of it is noticed.

A file of two slots beside `tally.db`, written in turn and in place: it needs no room on a full disk, and a
torn write leaves the other slot. Whoever writes the database holds its lock, so that marks and commits come
in one order. The same slots hold how far the register of stations is.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from unbrick.files import open_for_owner, sync_directory
from unbrick.settings.strict import parse_json
from unbrick.tally.books.ledger import NO_EVENT, Head

_SLOT = 4096
_TEXT = 512
_AT_MARK, _AT_TRUST = 0, 2048
"""The places of the database's mark and of the register's in each slot."""

_PATIENCE_SECONDS = 15.0
_LOOK_SECONDS = 0.01


@dataclass(frozen=True)
class Mark:
    """What must be in the database. `clean`: serving ended well and has not begun since. `folder`: the id of
    its tally (`lost_reports.folder_id`); empty where an older unbrick wrote it.
    """

    head: Head = field(default_factory=Head)
    clean: bool = True
    generation: int = 0
    folder: str = ""

    def to_bytes(self) -> bytes:
        """The text of a slot: a line of JSON, and its SHA-256."""
        document = {
            "generation": self.generation,
            "events": self.head.events,
            "changes": self.head.changes,
            "branch": self.head.branch,
            "newest": self.head.newest.hex(),
            "chain": self.head.chain.hex(),
            "clean": self.clean,
            "acts": self.head.acts,
            "folder": self.folder,
        }
        return _slot_of(document)


@dataclass(frozen=True)
class Trust:
    """How far a register of stations is: how often it was changed, and how many revocations that were.

    `chain` stands for all its changes up to now; empty in what an earlier unbrick wrote. While a change is
    being made, the mark has its chain here already, and the chain before it in `previous`.
    """

    changes: int = 0
    revocations: int = 0
    generation: int = 0
    chain: str = ""
    previous: str = ""


class MarkBusyError(OSError):
    """Another program holds the mark for too long."""


class MarkFile:
    """The file; `held` it is locked against every other process, and can be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._last: tuple[bytes, Mark | None] = (b"", None)
        self.is_doubtful = False
        """Whether what was written last may not be on the disk."""

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock it; made where it is missing. Raises OSError. Not for two threads at once."""
        descriptor = self._open()
        self._lock(descriptor)
        try:
            yield
        finally:
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)

    def _open(self) -> int:
        if self._descriptor is not None and os.fstat(self._descriptor).st_nlink == 0:
            self.close()  # the file was deleted meanwhile
        if self._descriptor is None:
            self._descriptor = open_for_owner(self._path, os.O_RDWR)
        return self._descriptor

    def _lock(self, descriptor: int) -> None:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise MarkBusyError(0, "held by another program for too long") from None
                time.sleep(_LOOK_SECONDS)

    def read(self) -> Mark | None:
        """The mark, while the file is held; None where there is none, or neither slot is whole."""
        assert self._descriptor is not None
        data = os.pread(self._descriptor, _SLOT + _TEXT, _AT_MARK)
        if data != self._last[0]:
            self._last = (data, _newest(data))
        return self._last[1]

    def write(self, mark: Mark) -> None:
        """Write the next mark durably, while the file is held; raises OSError."""
        before = self.read()
        self._make_room()
        self.is_doubtful = True
        generation = before.generation + 1 if before else 1
        self._put(replace(mark, generation=generation).to_bytes(), generation, _AT_MARK)
        self.is_doubtful = False

    def read_trust(self) -> Trust | None:
        """How far the register of stations was, while the file is held; None where that is not known."""
        assert self._descriptor is not None
        return _newest_trust(os.pread(self._descriptor, _SLOT + _TEXT, _AT_TRUST))

    def write_trust(self, trust: Trust) -> None:
        """Write that durably, while the file is held; raises OSError."""
        before = self.read_trust()
        self._make_room()
        generation = before.generation + 1 if before else 1
        self._put(_slot_of(asdict(replace(trust, generation=generation))), generation, _AT_TRUST)

    def _make_room(self) -> None:
        assert self._descriptor is not None
        if os.fstat(self._descriptor).st_size < 2 * _SLOT:
            os.posix_fallocate(self._descriptor, 0, 2 * _SLOT)
            os.fsync(self._descriptor)
            sync_directory(self._path.parent)

    def _put(self, data: bytes, generation: int, at: int) -> None:
        assert self._descriptor is not None
        if os.pwrite(self._descriptor, data, generation % 2 * _SLOT + at) != len(data):
            raise OSError(0, "the mark could not be written whole")
        os.fdatasync(self._descriptor)


def read_mark(path: Path) -> Mark | None:
    """The mark, read without a lock; None where there is none, or no slot is whole. For an account that may
    not read the file: an empty mark.
    """
    try:
        with path.open("rb") as stream:
            return _newest(stream.read(_SLOT + _TEXT))
    except PermissionError:
        return Mark()
    except OSError:
        return None


def read_trust(path: Path) -> Trust | None:
    """How far the register of stations was, read without a lock; None where that is not known.

    Raises PermissionError.
    """
    try:
        with path.open("rb") as stream:
            stream.seek(_AT_TRUST)
            return _newest_trust(stream.read(_SLOT + _TEXT))
    except PermissionError:
        raise
    except OSError:
        return None


def _newest(data: bytes) -> Mark | None:
    marks = [_mark_of(data[start : start + _TEXT]) for start in (0, _SLOT)]
    return max((one for one in marks if one), key=lambda one: one.generation, default=None)


def _newest_trust(data: bytes) -> Trust | None:
    found = [_trust_of(data[start : start + _TEXT]) for start in (0, _SLOT)]
    return max((one for one in found if one), key=lambda one: one.generation, default=None)


def _slot_of(document: dict[str, Any]) -> bytes:
    text = json.dumps(document).encode()
    return (text + b" " + hashlib.sha256(text).hexdigest().encode() + b"\n").ljust(_TEXT, b" ")


def _document_in(slot: bytes) -> dict[str, Any] | None:
    text, _, check = slot.strip(b" \n\0").rpartition(b" ")
    if not text or hashlib.sha256(text).hexdigest().encode() != check:
        return None
    try:
        found = parse_json(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


@lru_cache(maxsize=4)  # a commit writes one slot and reads both
def _mark_of(slot: bytes) -> Mark | None:
    found = _document_in(slot)
    if found is None:
        return None
    try:
        newest, chain = bytes.fromhex(found["newest"]), bytes.fromhex(found["chain"])
        branch, acts = int(found.get("branch", 0)), int(found.get("acts", 0))
        head = Head(int(found["events"]), newest, chain, int(found["changes"]), branch, acts)
        mark = Mark(head, bool(found["clean"]), int(found["generation"]), str(found.get("folder", "")))
    except (ValueError, KeyError, TypeError):
        return None
    return mark if len(newest) == len(chain) == len(NO_EVENT) else None


def _trust_of(slot: bytes) -> Trust | None:
    found = _document_in(slot)
    try:
        return Trust(**found) if found else None
    except TypeError:
        return None
