"""Databases of the first version of the tally's tables, made by the code of that time."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path


def make_earlier_tally(path: Path, holds: str) -> None:
    """Make one at `path`.

    It holds `visits` (of three machines, one of them confirmed, and one visit without an identity), or
    `names` (computers and lines of an inventory whose names are written in several ways).
    """
    script = Path(__file__).with_name(f"{holds}.sql").read_text()
    with closing(sqlite3.connect(path)) as database:
        database.executescript(script)
