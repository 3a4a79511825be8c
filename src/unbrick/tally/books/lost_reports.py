"""Compares a database with its mark: what is missing of what was acknowledged, and the error that says so."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from sqlalchemy import Connection, inspect

from unbrick.errors import Reason
from unbrick.signing.certificates import read_public_file
from unbrick.signing.ssh_key import SshKeyError
from unbrick.tally.books.acknowledged import Mark, MarkFile, read_mark
from unbrick.tally.books.ledger import Head, chain_at, read_head
from unbrick.tally.books.schema import ledger
from unbrick.tally.records import Loss, LossError, StoreError, StoreFullError

_RESTORE = "restore a copy of tally.db (`unbrick help administrator`)"
_ACCEPT = f"{_RESTORE}, or serve with --accept-loss"
_ACCEPT_UNMARKED = "look where tally.mark was moved to; `unbrick tally serve DIR --accept-loss` makes it anew"
_STRANGE = (
    "put this tally's own tally.db and tally.mark back, or serve the folder that these are of; "
    "`unbrick tally serve DIR --accept-loss` takes them over"
)
_TRUST = (
    "put the newest stations.json back; else serve with --accept-loss, and revoke again whom audit.log says "
    "was revoked (`unbrick tally revoke`)"
)
_CHANGES_OF_NEW = 1
"""Making the tables is the one change of an empty database."""


@dataclass(frozen=True)
class Settled:
    """What a comparison found: the loss (accepted), and the head now. `branch_was_lost`: the database is of
    before an accepted loss. `is_bound`: database and mark say of which tally they are.
    """

    loss: Loss | None
    head: Head
    branch_was_lost: bool = False
    is_bound: bool = True

    @property
    def goes_on_otherwise(self) -> bool:
        """Whether an older copy would go on with another history."""
        return self.loss is not None or self.branch_was_lost


def mark_path(database: Path) -> Path:
    return database.with_suffix(".mark")


def folder_id(database: Path) -> str:
    """The id of a tally's folder: a hash of its authority's key; empty where there is no key."""
    try:
        key = read_public_file(database.with_name("authority.pub"))
    except SshKeyError:
        return ""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def _number_of(folder: str) -> int:
    return int(folder[:8], 16) >> 1 or 1


def _number_in(connection: Connection) -> int:
    return int(connection.exec_driver_sql("PRAGMA application_id").scalar() or 0)


def find_loss(connection: Connection, mark: Mark | None, folder: str = "") -> Loss | None:
    """What the mark has and the database has not, or which of the two is not of this `folder`.

    A database without a mark must hold nothing, or be older than marks.
    """
    if not folder:
        return _find_loss(connection, mark)
    is_strange = _number_in(connection) not in (0, _number_of(folder))
    if mark is not None and mark.folder not in ("", folder):
        return Loss(0, 0, strange="tally.db and tally.mark are" if is_strange else "tally.mark is")
    loss = _find_loss(connection, mark)
    if is_strange and (loss is None or loss.unmarked):
        return Loss(0, 0, strange="tally.db is")
    return loss


def _find_loss(connection: Connection, mark: Mark | None) -> Loss | None:
    is_of_before = not inspect(connection).has_table(ledger.name)
    if mark is None:
        holds_nothing = is_of_before or _holds_nothing(read_head(connection))
        return None if holds_nothing else Loss(0, 0, unmarked=True)
    wanted = mark.head
    if is_of_before:  # an older copy, or somebody else's
        return Loss(wanted.events, wanted.changes, other=True, acts=wanted.acts) if wanted.changes else None
    head = read_head(connection)
    changes = max(wanted.changes - head.changes, 0)
    acts = max(wanted.acts - head.acts, 0)
    if chain_at(connection, wanted.events) == wanted.chain:
        return Loss(0, changes, acts=acts) if changes else None
    if head.events >= wanted.events or head.branch != wanted.branch:
        return Loss(wanted.events, wanted.changes, other=True, acts=wanted.acts)
    return Loss(wanted.events - head.events, changes, acts=acts)


def _holds_nothing(head: Head) -> bool:
    return head.events == 0 and head.changes <= _CHANGES_OF_NEW


def lost_error(loss: Loss) -> LossError:
    if loss.trust or loss.register:
        return LossError(loss, hint=_TRUST, reason=Reason.REPORTS_MISSING)
    if loss.strange:
        return LossError(loss, hint=_STRANGE, reason=Reason.REPORTS_MISSING)
    hint = _RESTORE if loss.damaged else _ACCEPT_UNMARKED if loss.unmarked else _ACCEPT
    return LossError(loss, hint=hint, reason=Reason.REPORTS_MISSING)


def gone_error(database: Path) -> StoreError:
    """The error where the database is missing or empty."""
    mark = read_mark(mark_path(database))
    if mark is None or not mark.head.changes:
        return StoreError(
            f"there is no tally database {database}",
            hint=f"{_RESTORE}, or make a new tally: unbrick tally init DIR",
        )
    return lost_error(Loss(mark.head.events, mark.head.changes, gone=True, acts=mark.head.acts))


class MarkedFile:
    """The mark of one database, held while that is written."""

    def __init__(self, database: Path) -> None:
        self._path = mark_path(database)
        self._file = MarkFile(self._path)
        self._folder = folder_id(database)
        self._bound_to = ""
        self._known: Head | None = None
        self._unmarked: Loss | None = None
        self.accepting = False
        """Whether a person has accepted what is missing; `settle` ends that."""

    def close(self) -> None:
        self._file.close()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lock it against every other writer; raises StoreError, StoreFullError."""
        with ExitStack() as held:
            with self._errors_named():
                held.enter_context(self._file.held())
            yield

    def look(self, connection: Connection) -> None:
        """Raise LossError where a database with reports has no mark; before `held` makes the file."""
        if read_mark(self._path) is None:
            self._unmarked = find_loss(connection, None, self._folder)
            if self._unmarked is not None and not self.accepting:
                raise lost_error(self._unmarked)

    def check(self, connection: Connection) -> None:
        """Raise LossError where this transaction sees less than the mark has."""
        mark = self._read()
        if mark is None and self._known is not None:
            mark = Mark(self._known)  # the file was deleted meanwhile
        elif self.accepting or (mark is not None and mark.head == self._known):
            return
        loss = find_loss(connection, mark, self._folder)
        if loss is not None:
            raise lost_error(loss)

    def bind_database(self, connection: Connection) -> None:
        """Write into SQLite's header of which tally the database is: every version of it has room there."""
        connection.exec_driver_sql(f"PRAGMA application_id = {_number_of(self._folder)}")

    def bind(self) -> None:
        """Write that into the mark."""
        self._bound_to = self._folder
        self._write(replace(self._read() or self._new_mark(clean=False), folder=self._folder))

    def _new_mark(self, *, clean: bool) -> Mark:
        return Mark(clean=clean, folder=self._bound_to)

    def cover(self, head: Head) -> None:
        """Write what is committed into the mark, durably; raises StoreFullError, StoreError."""
        mark = self._read() or self._new_mark(clean=not head.events)
        ahead = (head.events, head.changes) > (mark.head.events, mark.head.changes)
        if ahead or mark.generation == 0 or self._file.is_doubtful:
            self._write(replace(mark, head=head))
        self._known = head

    def compare(self, connection: Connection) -> Settled:
        """See `Database.settle`; raises LossError."""
        mark, head = self._read(), read_head(connection)
        loss = self._unmarked or find_loss(connection, mark, self._folder)
        if loss is not None and not self.accepting:
            raise lost_error(loss)
        self._bound_to = mark.folder if mark is not None else ""
        is_bound = not self._folder or (
            self._bound_to == self._folder and _number_in(connection) == _number_of(self._folder)
        )
        return Settled(loss, head, mark is not None and mark.head.branch != head.branch, is_bound)

    def settle(self, head: Head) -> None:
        """Make this what the mark has, also where it had more."""
        self.accepting = False
        self._unmarked = None
        mark = self._read() or self._new_mark(clean=not head.events)
        if mark.head != head:
            self._write(replace(mark, head=head))
        self.cover(head)

    def say_clean(self, connection: Connection, clean: bool) -> bool:
        """See `Database.say_clean`."""
        mark = self._read() or replace(self._new_mark(clean=False), head=read_head(connection))
        if mark.clean != clean or mark.generation == 0:
            self._write(replace(mark, clean=clean))
        return mark.clean

    def refuse_new(self, database: Path) -> None:
        """Raise where a new database would hide that one with reports is gone."""
        mark = read_mark(self._path)
        if mark is not None and mark.head.changes:
            raise gone_error(database)

    def _read(self) -> Mark | None:
        with self._errors_named():
            return self._file.read()

    def _write(self, mark: Mark) -> None:
        with self._errors_named():
            self._file.write(mark)

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFullError(
                    f"the disk below {self._path.name} is full",
                    hint="make room on it; what was not acknowledged is kept at the stations",
                    reason=Reason.DISK_FULL,
                ) from error
            raise StoreError(
                f"{self._path}, which says what was acknowledged, cannot be used: {error.strerror or error}"
            ) from error
