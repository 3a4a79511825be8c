"""Makes everything anew that is added up, from what was told to us, after the rules have changed."""

from __future__ import annotations

from sqlalchemy import Connection

from unbrick.tally.books.bulk import insert_rows
from unbrick.tally.books.schema import (
    contradictions,
    counters,
    machine_names,
    machines,
    metadata,
    minutes,
    newcomers,
    runs,
    totals,
    unlisted,
)
from unbrick.tally.count.recount import recount

ADDED_UP = (contradictions, machine_names, machines, runs, newcomers, counters, unlisted, minutes, totals)
"""The tables that hold nothing but what the others add up to; those that name another come first."""


def rebuild(connection: Connection) -> None:
    """Make every table that is added up as it is today, and fill it; slow: reads all events."""
    metadata.drop_all(connection, list(ADDED_UP))
    metadata.create_all(connection, list(ADDED_UP))
    right = recount(connection)
    for table in reversed(ADDED_UP):
        insert_rows(connection, table, list(getattr(right, table.name).values()))
