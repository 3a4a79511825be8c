"""The errors of SQLite as errors of the store."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError

from unbrick.errors import Reason
from unbrick.tally.records import StoreError, StoreFullError

_LEAST_FREE_BYTES = 256 * 1024


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Raise an error of the database `path` as StoreError or StoreFullError."""
    try:
        yield
    except DBAPIError as error:
        raise _named(path, error.orig) from error
    except sqlite3.Error as error:
        raise _named(path, error) from error


def _named(path: Path, error: BaseException | None) -> StoreError:
    code = getattr(error, "sqlite_errorcode", 0) or 0
    if code & 0xFF == sqlite3.SQLITE_FULL or (code & 0xFF == sqlite3.SQLITE_IOERR and _is_full(path)):
        return StoreFullError(
            f"the disk below {path.name} is full",
            hint="make room on it; what was not acknowledged is kept at the stations",
            reason=Reason.DISK_FULL,
        )
    if code & 0xFF in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return StoreError(f"{path.name} is locked by another program for too long")
    if code & 0xFF in {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}:
        return StoreError(
            f"{path.name} is damaged, or is no database",
            hint="keep it as it is and restore a copy: unbrick help administrator",
        )
    return StoreError(f"{path.name} cannot be used: {error}")


def _is_full(path: Path) -> bool:
    try:
        room = os.statvfs(path.parent)
    except OSError:
        return False
    return room.f_bavail * room.f_frsize < _LEAST_FREE_BYTES
