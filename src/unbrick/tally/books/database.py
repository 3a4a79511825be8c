"""Opens SQLite so that a commit is durable; the mark (`acknowledged.py`) has it before it is acknowledged.

PostgreSQL would be a second module beside this one; everything else speaks SQLAlchemy Core.
"""

from __future__ import annotations

import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.pool import QueuePool

from unbrick.errors import Reason
from unbrick.files import sync_directory
from unbrick.tally.books.database_errors import errors_named
from unbrick.tally.books.database_files import files_of, refuse_second_name
from unbrick.tally.books.ledger import begin_branch, count_change, read_head
from unbrick.tally.books.lost_reports import MarkedFile, Settled, gone_error
from unbrick.tally.books.prepared import run_plain
from unbrick.tally.records import StoreError

_BUSY_MILLISECONDS = 15_000
_MOST_WAL_BYTES = 64 * 1024 * 1024
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    f"busy_timeout={_BUSY_MILLISECONDS}",
    "wal_autocheckpoint=0",
    f"journal_size_limit={_MOST_WAL_BYTES}",
)
_NEEDED = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": _BUSY_MILLISECONDS}
_CHECKPOINT_PAGES = 1000
_CACHE_KIB, _LARGE_CACHE_KIB = 2000, 256 * 1024
_WRITING = "unbrick_writing"


class ReadableDatabase(ABC):
    """What can be asked of a database, however it was opened."""

    @abstractmethod
    def read(self) -> AbstractContextManager[Connection]:
        """A transaction that only looks, and sees the same state throughout."""

    @abstractmethod
    def write(self, *, large: bool = False, act: bool = False) -> AbstractContextManager[Connection]:
        """A transaction that is durable when this ends, and leaves nothing when it raises."""

    @abstractmethod
    def close(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def complaints(self) -> tuple[str, ...]:
        """The findings of the database's own integrity check."""
        with self.read() as connection:
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        damaged = [f"the database is damaged: {one}" for one in said if one != "ok"]
        return (*damaged, *(f"a row of {row[0]} belongs to nothing" for row in strays))


class Database(ReadableDatabase):
    """Transactions on one SQLite file: `read` sees one moment, `write` is the only writer while it lasts.

    One connection at a time writes, of all processes, and it alone checkpoints: SQLite before 3.51.3 may lose
    what a commit wrote where a second checkpoint runs as another connection's commit resets the WAL
    (sqlite.org/wal.html, "The WAL-Reset Bug"). The mark's lock is held from before the transaction until
    after the checkpoint. Only the last connection to close checkpoints without it; it is alone by definition.
    """

    def __init__(self, path: Path, *, create: bool, accept_loss: bool = False) -> None:
        """Raises StoreError where the file is missing (unless `create`) or cannot be used."""
        self._path = path
        self._real = files_of(path)
        self._marked = MarkedFile(path)
        self._marked.accepting = accept_loss
        self._turn = Lock()
        self._open = 0
        self._files: dict[Path, tuple[int, int]] = {}
        try:
            self._find(create=create, accept_loss=accept_loss)
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror or error}") from None
        self._engine = self._open_engine()

    def _find(self, *, create: bool, accept_loss: bool) -> None:
        refuse_second_name(self._path)
        if self._path.is_file() and (self._path.stat().st_size or accept_loss):
            return
        if not accept_loss:
            if self._path.exists() or not create:
                raise gone_error(self._path)
            self._marked.refuse_new(self._path)
        os.close(os.open(self._real.file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        sync_directory(self._real.file.parent)

    def _open_engine(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self._real.file}",
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000},
        )
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "connect", self._count_opened)
        event.listen(engine, "close", self._count_closed)
        event.listen(engine, "begin", _begin)
        return engine

    def _count_opened(self, *_: object) -> None:
        self._open += 1

    def _count_closed(self, *_: object) -> None:
        self._open -= 1
        if not self._open:
            self._files.clear()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        with errors_named(self._real.file), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with errors_named(self._real.file), self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITING: True})
            with connection.begin():
                yield connection

    @contextmanager
    def write(self, *, large: bool = False, act: bool = False) -> Iterator[Connection]:
        """A transaction that is durable when this ends, and leaves nothing when it raises.

        One exception: where only the mark could not be written, the commit stays, and must not be
        acknowledged. Raises LossError where the database has less than the mark says. `large` keeps the many
        pages it touches in memory, which else would be written again and again; `act` counts a person's act.
        """
        with (
            self._turn,
            self._marked.held(),
            errors_named(self._real.file),
            self._engine.connect() as connection,
        ):
            self._check_files()
            connection = connection.execution_options(**{_WRITING: True})
            own = connection.connection.driver_connection
            assert isinstance(own, sqlite3.Connection)
            own.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
            if large:
                own.execute(f"PRAGMA cache_size={-_LARGE_CACHE_KIB}")
            try:
                with connection.begin():
                    self._marked.check(connection)
                    before = own.total_changes
                    yield connection
                    if own.total_changes != before:
                        count_change(connection, act=act)
                    head = read_head(connection)
                self._check_files()
                self._marked.cover(head)
            finally:
                own.execute("PRAGMA wal_autocheckpoint=0")
                if large:
                    own.execute(f"PRAGMA cache_size={-_CACHE_KIB}")

    def _check_files(self) -> None:
        """Raise StoreError where the files were moved or replaced meanwhile: a commit would be lost."""
        for name in (self._path, self._real.file, self._real.wal):
            try:
                found = name.stat()
            except FileNotFoundError:
                if name not in self._files:
                    continue
                raise self._replaced(name) from None
            file = (found.st_dev, found.st_ino)
            if self._files.setdefault(name, file) != file:
                raise self._replaced(name)

    def _replaced(self, name: Path) -> StoreError:
        return StoreError(
            f"{name.name} was removed or replaced while it is in use; nothing more is taken",
            hint="stop what serves the tally (SIGTERM), look at its folder, and start it again",
            reason=Reason.REPORTS_MISSING,
        )

    def accept_loss(self) -> None:
        """A person accepts what is missing: holds until the next `settle`, which says how much that is."""
        self._marked.accepting = True

    def look_for_mark(self, connection: Connection) -> None:
        """Raise LossError where a database with reports has no mark, unless that was accepted."""
        self._marked.look(connection)

    def settle(self) -> Settled:
        """Compare with the mark, and bring the mark up to the database; a new tally's is made.

        Raises LossError where the database has less than was acknowledged, or that cannot be known, unless
        it was accepted.
        """
        with self._turn, self._marked.held():
            with self.read() as connection:
                settled = self._marked.compare(connection)
            if settled.goes_on_otherwise:
                with self._transaction() as connection:
                    begin_branch(connection)
                    settled = replace(settled, head=read_head(connection))
            self._marked.settle(settled.head)
            return settled

    def bind(self) -> None:
        with self._turn, self._marked.held():
            with self._transaction() as connection:
                self._marked.bind_database(connection)
            self._marked.bind()

    def say_clean(self, clean: bool) -> bool:
        """Note that serving begins (False) or has ended well; returns what was noted before."""
        with self._turn, self._marked.held(), self.read() as connection:
            return self._marked.say_clean(connection, clean)

    def close(self) -> None:
        self._engine.dispose()
        self._marked.close()


def _set_up(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # transactions begin in `_begin`, where SQLAlchemy means them to
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")
    for name, needed in _NEEDED.items():
        found = connection.execute(f"PRAGMA {name}").fetchone()[0]
        if found != needed:
            raise StoreError(
                f"the tally's database cannot be kept durable here: {name} is {found}",
                hint="put the tally's folder on a local disk",
            )


def _begin(connection: Connection) -> None:
    writing = connection.get_execution_options().get(_WRITING, False)
    # A writer takes its turn at once: one that looked first and then wrote could be refused half-way.
    run_plain(connection, "BEGIN IMMEDIATE" if writing else "BEGIN")
