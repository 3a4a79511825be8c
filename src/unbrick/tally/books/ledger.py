"""The order in which events were committed, as a chain of hashes: equal ends mean equal histories.

`acknowledged.py` keeps the end outside the database. The number of changes counts transactions of every kind,
so that a lost statement or inventory is noticed as a lost report is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import count

from sqlalchemy import Connection, delete, func, insert, select, update

from unbrick.tally.books.bulk import insert_rows
from unbrick.tally.books.prepared import run_plain
from unbrick.tally.books.schema import changes, events, ledger

NO_EVENT = bytes(32)
"""The event and the chain before the first one."""

_LAST = "SELECT number, event, chain FROM ledger ORDER BY number DESC LIMIT 1"
_CHANGES = "SELECT * FROM changes"  # a database of an older version has its first column only
_COUNT = "UPDATE changes SET number = number + 1"
_COUNT_ACT = "UPDATE changes SET acts = coalesce(acts, 0) + 1"


@dataclass(frozen=True)
class Head:
    """How far the database is: events, the newest one, the chain over their ids, changes of any kind, and how
    many of these were `acts` of persons (statements, decisions, lists). `branch` is a new random number each
    time that a person accepts a loss: from there an older copy has another history.
    """

    events: int = 0
    newest: bytes = NO_EVENT
    chain: bytes = NO_EVENT
    changes: int = 0
    branch: int = 0
    acts: int = 0


def next_link(chain: bytes, event: bytes) -> bytes:
    return hashlib.sha256(chain + event).digest()


def blob(value: object) -> bytes:
    """The value of a column of bytes; empty where a damaged database has something else there."""
    return value if isinstance(value, bytes) else b""


def append(connection: Connection, ids: Iterable[bytes]) -> None:
    head = read_head(connection)
    chain, rows = head.chain, []
    for number, event in zip(count(head.events + 1), ids, strict=False):
        chain = next_link(chain, event)
        rows.append({"number": number, "event": event, "chain": chain})
    insert_rows(connection, ledger, rows)


def count_change(connection: Connection, *, act: bool = False) -> None:
    run_plain(connection, _COUNT)
    if act:
        run_plain(connection, _COUNT_ACT)


def read_head(connection: Connection) -> Head:
    last, counted = run_plain(connection, _LAST), run_plain(connection, _CHANGES)
    number, branch, acts = (one or 0 for one in (*(counted[0] if counted else ()), 0, 0, 0)[:3])
    if not last:
        return Head(changes=number, branch=branch, acts=acts)
    events, event, chain = last[0]
    return Head(events, blob(event), blob(chain), number, branch, acts)


def begin_branch(connection: Connection) -> None:
    connection.execute(update(changes).values(branch=1 + secrets.randbelow(2**62)))


def chain_at(connection: Connection, number: int) -> bytes | None:
    """The chain after so many events; None where there are fewer."""
    if number == 0:
        return NO_EVENT
    found = connection.execute(select(ledger.c.chain).where(ledger.c.number == number)).scalar()
    return None if found is None else blob(found)


def fill(connection: Connection) -> None:
    """Make the ledger of a database that has none yet."""
    if not connection.execute(select(func.count()).select_from(changes)).scalar():
        connection.execute(insert(changes).values(number=0))
        refill(connection)


def refill(connection: Connection) -> None:
    """Make the ledger anew from the events, in the order of their arrival."""
    found = select(events.c.id).order_by(events.c.received, events.c.id)
    known = connection.execute(found).scalars().all()
    connection.execute(delete(ledger))
    append(connection, [bytes(one) for one in known])
