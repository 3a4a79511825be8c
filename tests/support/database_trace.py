"""What the database itself is asked, however the program puts it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import event
from sqlalchemy.pool import Pool


@contextmanager
def traced() -> Iterator[list[str]]:
    """Every statement that SQLite runs meanwhile, values and all, on connections taken from now on."""
    said: list[str] = []

    def taken(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(said.append)

    def given_back(connection: sqlite3.Connection | None, *_: object) -> None:
        if connection is not None:
            connection.set_trace_callback(None)

    event.listen(Pool, "checkout", taken)
    event.listen(Pool, "checkin", given_back)
    try:
        yield said
    finally:
        event.remove(Pool, "checkout", taken)
        event.remove(Pool, "checkin", given_back)
