"""Brings a database from whatever version it has to this one, step by step, and refuses a newer one.

A step is never changed once it was released; a new shape of the tables is a new step at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Connection, func, insert, inspect, select

from unbrick.tally import schema
from unbrick.tally.clock import microseconds, present
from unbrick.tally.records import StoreError

Migration = Callable[[Connection], None]


def _first_tables(connection: Connection) -> None:
    schema.metadata.create_all(connection)


MIGRATIONS: tuple[Migration, ...] = (_first_tables,)
"""The step at index n brings version n to version n + 1."""


def version_of(connection: Connection) -> int:
    """The version of the tables; 0 for an empty database."""
    if not inspect(connection).has_table(schema.schema_version.name):
        return 0
    return connection.execute(select(func.max(schema.schema_version.c.version))).scalar() or 0


def is_current(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> bool:
    """Whether there is nothing to migrate."""
    return version_of(connection) == len(migrations)


def migrate(connection: Connection, migrations: Sequence[Migration] = MIGRATIONS) -> int:
    """Apply what is missing, within the caller's transaction; returns the version; raises StoreError."""
    version = version_of(connection)
    if version > len(migrations):
        raise StoreError(
            f"the tally's database has version {version}, and this unbrick knows only {len(migrations)}",
            hint="a newer unbrick wrote it: use that one; nothing was changed",
        )
    if version == 0 and inspect(connection).get_table_names():
        raise StoreError(
            "this database is not a tally's", hint="name the folder that `unbrick tally init` made"
        )
    for step in migrations[version:]:
        step(connection)
        version += 1
        row = {"version": version, "applied_at": microseconds(present())}
        connection.execute(insert(schema.schema_version), row)
    return version
