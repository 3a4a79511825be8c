"""The files of one SQLite database: where its name is a link, -wal and -shm lie beside what that leads to."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from unbrick.tally.records import StoreError


@dataclass(frozen=True)
class DatabaseFiles:
    """`wal` is the write-ahead log, `shm` its index."""

    file: Path
    wal: Path
    shm: Path


def files_of(database: Path) -> DatabaseFiles:
    """Where they are, or would be; `database` may be a link to a larger disk."""
    # Path.resolve raises for a circle of links, which is no file to whoever looks then.
    file = Path(os.path.realpath(database))
    return DatabaseFiles(file, file.with_name(f"{file.name}-wal"), file.with_name(f"{file.name}-shm"))


def refuse_second_name(database: Path) -> None:
    """Raise StoreError where the file has another name (a hard link).

    SQLite keeps a log beside each name: who writes by one does not see what was written by the other.
    """
    if database.is_file() and database.stat().st_nlink > 1:
        raise StoreError(
            f"{database.name} has a second name somewhere (a hard link): two tallies would write to one file",
            hint="remove the other name, or copy the file and put the copy in its place",
        )
