"""The one place that knows which database it is: opens SQLite so that a commit is durable, names its errors.

PostgreSQL would be a second module beside this one; everything else speaks SQLAlchemy Core.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import QueuePool

from unbrick.errors import Reason
from unbrick.files import sync_directory
from unbrick.tally.records import StoreError, StoreFullError

_BUSY_MILLISECONDS = 15_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={_BUSY_MILLISECONDS}")
_NEEDED = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": _BUSY_MILLISECONDS}
_LEAST_FREE_BYTES = 256 * 1024
_WRITING = "unbrick_writing"


class Database:
    """Transactions on one SQLite file: `read` sees one moment, `write` is the only writer while it lasts."""

    def __init__(self, path: Path, *, create: bool) -> None:
        """Raises StoreError where there is no such file (and none is to be made) or it cannot be used."""
        self._path = path
        try:
            if create and not path.exists():
                os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                sync_directory(path.parent)
            elif not path.is_file():
                raise StoreError(
                    f"there is no tally database {path}", hint="make one: unbrick tally init DIR"
                )
        except OSError as error:
            raise StoreError(f"{path} cannot be opened: {error.strerror or error}") from None
        self._engine = self._open_engine()

    def _open_engine(self) -> Engine:
        engine = create_engine(
            f"sqlite:///{self._path}",
            poolclass=QueuePool,
            connect_args={"check_same_thread": False, "timeout": _BUSY_MILLISECONDS / 1000},
        )
        event.listen(engine, "connect", _set_up)
        event.listen(engine, "begin", _begin)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that only looks, and sees the same state throughout."""
        with self._errors_named(), self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is durable when this ends, and leaves nothing when it raises."""
        with self._errors_named(), self._engine.connect() as connection:
            connection = connection.execution_options(**{_WRITING: True})
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def settings(self) -> dict[str, Any]:
        """The settings that durability rests on, as the database itself reports them."""
        with self.read() as connection:
            return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in _NEEDED}

    def complaints(self) -> tuple[str, ...]:
        """What the database's own integrity check finds."""
        with self.read() as connection:
            said = connection.exec_driver_sql("PRAGMA integrity_check").scalars().all()
            strays = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
        told = [f"the database is damaged: {one}" for one in said if one != "ok"]
        return (*told, *(f"a row of {row[0]} belongs to nothing" for row in strays))

    @contextmanager
    def _errors_named(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            raise self._named(error.orig) from error
        except sqlite3.Error as error:
            raise self._named(error) from error

    def _named(self, error: BaseException | None) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) or 0
        if code & 0xFF == sqlite3.SQLITE_FULL or (code & 0xFF == sqlite3.SQLITE_IOERR and self._is_full()):
            return StoreFullError(
                f"the disk below {self._path.name} is full",
                hint="make room on it; what was not acknowledged is kept at the stations",
                reason=Reason.DISK_FULL,
            )
        if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
            return StoreError(f"{self._path.name} is locked by another program for too long")
        if code & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
            return StoreError(
                f"{self._path.name} is damaged, or is no database",
                hint="keep it as it is and restore the tally's folder from a copy",
            )
        return StoreError(f"{self._path.name} cannot be used: {error}")

    def _is_full(self) -> bool:
        try:
            room = os.statvfs(self._path.parent)
        except OSError:
            return False
        return room.f_bavail * room.f_frsize < _LEAST_FREE_BYTES


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
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
