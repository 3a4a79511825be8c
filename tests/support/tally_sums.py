"""Holds what a store adds up to against a recount, its ledger and the database's own check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice

from sqlalchemy import Connection, select

from unbrick.tally.books.ledger import NO_EVENT, next_link
from unbrick.tally.books.schema import ledger
from unbrick.tally.count.recount import differences
from unbrick.tally.store.store import Store


def faults_of(store: Store) -> tuple[str, ...]:
    """Each difference in a sentence; empty when all is well."""
    database = store._database
    complaints = database.complaints()
    with database.read() as connection:
        return (*complaints, *islice(_broken_links(connection), 20), *differences(connection))


def settings_of(store: Store) -> Mapping[str, object]:
    """The settings that durability needs, as the database reports them itself."""
    names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
    with store._database.read() as connection:
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}


def _broken_links(connection: Connection) -> Iterator[str]:
    chain, expected = NO_EVENT, 1
    for number, event, link in connection.execute(select(ledger).order_by(ledger.c.number)):
        if number != expected:
            yield f"the ledger has no number {expected}, and goes on with {number}"
        elif next_link(chain, event) != link:
            yield f"the ledger does not fit together at number {number}"
        chain, expected = link, number + 1
