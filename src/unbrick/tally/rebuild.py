"""Makes everything anew that is added up, from what was told to us, after the rules have changed."""

from __future__ import annotations

from sqlalchemy import Connection, delete

from unbrick.tally.bulk import insert_rows
from unbrick.tally.recount import recount
from unbrick.tally.schema import counters, machine_names, machines, minutes, runs, totals

ADDED_UP = (machine_names, machines, runs, counters, minutes, totals)
"""The tables that hold nothing but what the others add up to; those that name another come first."""


def rebuild(connection: Connection) -> None:
    """Fill every table that is added up; slow: reads all events. The tables must have today's columns."""
    right = recount(connection)
    for table in ADDED_UP:
        connection.execute(delete(table))
    for table in reversed(ADDED_UP):
        insert_rows(connection, table, list(getattr(right, table.name).values()))
