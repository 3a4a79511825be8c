"""A look of some seconds at the database after an unclean end, the newest reports first.

What a torn or half copied database lacks is at its end. `tally/upkeep/check.py` looks at everything.
"""

from __future__ import annotations

import hashlib
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from unbrick.tally.books.bulk import rows_of
from unbrick.tally.books.ledger import NO_EVENT, blob, next_link, read_head
from unbrick.tally.books.schema import events, ledger

SECONDS = 10.0
_AT_ONCE = 500


@dataclass(frozen=True)
class QuickCheck:
    """`whole`: there was time for all of it."""

    missing: int = 0
    complaints: tuple[str, ...] = ()
    whole: bool = True


def quick_check(connection: Connection, seconds: float = SECONDS) -> QuickCheck:
    """Look for about so many seconds at most; raises StoreError where what is read is damaged."""
    until = time.monotonic() + seconds
    try:
        missing, complaints, whole = _newest(connection, until - seconds / 2)
    except (TypeError, ValueError, OverflowError) as error:
        missing, complaints, whole = 0, [f"its ledger cannot be read: {error}"], True
    try:
        with _no_longer_than(connection, until):
            head = read_head(connection)
            kept = connection.execute(select(func.count()).select_from(events)).scalar() or 0
            missing = max(missing, head.events - kept)
            said = connection.exec_driver_sql("PRAGMA quick_check(20)").scalars().all()
        complaints += [f"the database is damaged: {one}" for one in said if one != "ok"]
    except (DBAPIError, sqlite3.Error) as error:
        if getattr(getattr(error, "orig", error), "sqlite_errorcode", 0) != sqlite3.SQLITE_INTERRUPT:
            raise
        whole = False
    return QuickCheck(missing, tuple(complaints), whole)


def _newest(connection: Connection, until: float) -> tuple[int, list[str], bool]:
    """Go back through the ledger: each event is there and unchanged, and the links fit together."""
    missing, complaints = 0, list[str]()
    number = read_head(connection).events
    above: bytes | None = None
    above_event = b""
    while number > 0:
        if time.monotonic() > until:
            return missing, complaints, False
        found = select(ledger, events.c.data).join(events, events.c.id == ledger.c.event, isouter=True)
        found = found.where(ledger.c.number <= number).order_by(ledger.c.number.desc()).limit(_AT_ONCE)
        rows = list(rows_of(connection, found))
        if not rows:  # the beginning of the ledger is gone
            complaints.append(_does_not_fit(number))
            return missing, complaints, True
        for row in rows:
            event, data = blob(row["event"]), row["data"]
            if data is None:
                missing += 1
            elif not isinstance(data, bytes) or hashlib.sha256(data).digest() != event:
                complaints.append(f"report {event.hex()} is not what was signed")
            if row["number"] != number or (above and next_link(blob(row["chain"]), above_event) != above):
                complaints.append(_does_not_fit(number))
                return missing, complaints, True
            above, above_event, number = blob(row["chain"]), event, number - 1
    if above and next_link(NO_EVENT, above_event) != above:
        complaints.append(_does_not_fit(1))
    return missing, complaints, True


def _does_not_fit(number: int) -> str:
    return f"the ledger does not fit together at number {number}"


@contextmanager
def _no_longer_than(connection: Connection, until: float) -> Iterator[None]:
    own = connection.connection.driver_connection
    assert isinstance(own, sqlite3.Connection)
    # A progress handler would not be asked in the midst of a check of a large table.
    timer = Timer(max(until - time.monotonic(), 0), own.interrupt)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
