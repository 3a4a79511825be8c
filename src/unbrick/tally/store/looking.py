"""Opens a tally's database read-only: writes and makes no file, and migrates nothing.

Opening a database in WAL mode writes: its last reports are in `-wal`, and SQLite makes an index of that,
`-shm`, or takes the one that is there. Three ways read without that:

* no `-wal` is left: as a file that does not change (`immutable`; it is verified afterwards);
* a `-wal` with its `-shm`: SQLite's own reading, with the index in memory, or shared with the server;
* a `-wal` without: a private copy of both. So is a database of an older version, which is migrated there.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from unbrick.tally.books.acknowledged import read_mark
from unbrick.tally.books.database import Database, ReadableDatabase
from unbrick.tally.books.database_errors import errors_named
from unbrick.tally.books.database_files import files_of
from unbrick.tally.books.lost_reports import find_loss, folder_id, gone_error, mark_path
from unbrick.tally.books.schema import ledger
from unbrick.tally.records import Loss, StoreError
from unbrick.tally.store.migrations import is_current, migrate

_TRIES = 3
_CANNOT_SHARE = {
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PROTOCOL,
}
_WAL_MAGIC = {b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"}
_BUSY_SECONDS = 15.0

Stamp = tuple[tuple[int, int, int], ...]


class LookingDatabase(ReadableDatabase):
    """One SQLite file that is only read; each `read` sees the newest state."""

    def __init__(self, path: Path) -> None:
        """Raises LossError or StoreError where there is no database."""
        self._path = path
        self._real = files_of(path)
        self._copied: tuple[Stamp, Database] | None = None
        self._held = ExitStack()
        self._is_of_before_marks = False
        self._check_there()

    def _check_there(self) -> None:
        try:
            there = self._path.is_file() and self._path.stat().st_size > 0
        except OSError as error:
            raise StoreError(f"{self._path} cannot be opened: {error.strerror or error}") from None
        if not there:
            raise gone_error(self._path)

    def close(self) -> None:
        """Delete the private copy."""
        self._copied = None
        self._held.close()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees the same state throughout; raises StoreError."""
        self._check_there()
        with self._way() as connection:
            yield connection

    @contextmanager
    def write(self, *, large: bool = False, act: bool = False) -> Iterator[Connection]:
        raise StoreError(f"{self._path.name} was opened to look only")
        yield

    def loss(self) -> Loss | None:
        """What the mark has and the database has not, or that the mark is missing."""
        mark = read_mark(mark_path(self._path))  # first: the server may go on meanwhile
        with self.read() as connection:
            loss = find_loss(connection, mark, folder_id(self._path))
        return None if mark is None and self._is_of_before_marks else loss

    @contextmanager
    def _way(self) -> Iterator[Connection]:
        stamp = self._stamp()
        shared = self._real.shm.exists()
        settled = not shared and not self._has_wal()
        ways: tuple[str, ...] = ()
        if settled:
            ways = ("immutable=1",)
        elif shared and self._is_wal():
            ways = ("mode=ro&readonly_shm=1", "mode=ro")
        with errors_named(self._real.file), ExitStack() as held:
            for way in ways:
                connection = self._connected(way, held)
                if connection is not None and is_current(connection):
                    self._is_of_before_marks = False
                    yield connection
                    break
            else:
                yield held.enter_context(self._copy().read())
        if settled and self._stamp() != stamp:
            raise self._changed()

    def _connected(self, way: str, held: ExitStack) -> Connection | None:
        """A transaction of its own connection; None where SQLite cannot look in that way."""
        engine = _engine(f"file:{quote(str(self._real.file))}?{way}")
        connection = None
        try:
            connection = engine.connect()
            connection.begin()
            connection.exec_driver_sql("SELECT count(*) FROM sqlite_schema").scalar()
        except DBAPIError as error:
            if connection is not None:
                connection.close()
            if (getattr(error.orig, "sqlite_errorcode", 0) & 0xFF) in _CANNOT_SHARE:
                return None
            raise
        held.callback(connection.close)
        return connection

    def _copy(self) -> Database:
        """A migrated copy of the files, kept while they do not change."""
        stamp = self._stamp()
        if self._copied is not None and self._copied[0] == stamp:
            return self._copied[1]
        self.close()
        for _ in range(_TRIES):
            folder = Path(self._held.enter_context(tempfile.TemporaryDirectory(prefix="unbrick-look-")))
            with _reading(self._path):
                shutil.copyfile(self._real.file, folder / self._path.name)
                if self._has_wal():
                    shutil.copyfile(self._real.wal, folder / f"{self._path.name}-wal")
            if self._stamp() == stamp:
                break
            stamp = self._stamp()
        else:
            raise self._changed()
        database = Database(folder / self._path.name, create=False)
        self._held.callback(database.close)
        database.accept_loss()  # `loss` compares it with the mark of the tally, not with the copy's own
        with database.write(large=True) as connection:
            self._is_of_before_marks = not inspect(connection).has_table(ledger.name)
            migrate(connection)
        self._copied = (stamp, database)
        return database

    def _has_wal(self) -> bool:
        with suppress(OSError):
            return self._real.wal.stat().st_size > 0
        return False

    def _is_wal(self) -> bool:
        """Whether the -wal begins as one, or is empty: else SQLite waits long for its index."""
        with suppress(OSError), self._real.wal.open("rb") as stream:
            return stream.read(4) in {b"", *_WAL_MAGIC}
        return True

    def _stamp(self) -> Stamp:
        found = []
        for path in (self._path, self._real.wal):
            with suppress(OSError):
                state = path.stat()
                found.append((state.st_ino, state.st_size, state.st_mtime_ns))
        return tuple(found)

    def _changed(self) -> StoreError:
        return StoreError(f"{self._path.name} was changed while it was looked at", hint="look again")


def _engine(uri: str) -> Engine:
    def connect() -> sqlite3.Connection:
        own = sqlite3.connect(uri, uri=True, check_same_thread=False, timeout=_BUSY_SECONDS)
        own.isolation_level = None
        return own

    engine = create_engine("sqlite://", creator=connect, poolclass=NullPool)
    event.listen(engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN"))
    return engine


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error
