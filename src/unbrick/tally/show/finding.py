"""Finds machines by what a person can read out: a computer name, a sticker's code, a serial number.

Every query uses an index: its cost does not grow with the fleet.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from unbrick.events.short_code import is_short_code, plain_code
from unbrick.tally.books.bulk import rows_where
from unbrick.tally.books.schema import expected, machines, runs
from unbrick.tally.count.machines import machines_called, machines_with_serials
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.records import NAMED, MachineRow
from unbrick.tally.show.summary import rows_by_name


def find_machines(connection: Connection, wanted: str) -> tuple[MachineRow, ...]:
    rows = rows_where(connection, machines, machines.c.key, find_keys(connection, wanted))
    return tuple(rows_by_name(rows))


def find_keys(connection: Connection, wanted: str) -> list[str]:
    keys = keys_by_name(connection, name_key(wanted)) | keys_by_serial(connection, serial_key(wanted))
    if is_short_code(wanted):
        query = select(runs.c.machine).where(runs.c.code == plain_code(wanted)).distinct()
        keys |= set(connection.execute(query).scalars())
    return sorted(keys)


def keys_by_name(connection: Connection, key: str) -> set[str]:
    """Machines that reported under a name, are expected under it, or were marked under it."""
    keys = {row["key"] for row in rows_where(connection, machines, machines.c.name_key, [key])}
    named = rows_where(connection, machines, machines.c.key, [NAMED + key])
    return keys | {row["key"] for row in named} | set(machines_called(connection, key))


def keys_by_serial(connection: Connection, key: str) -> set[str]:
    """Machines that reported a serial number, or whose line in the inventory has it."""
    if not key:
        return set()
    keys = machines_with_serials(connection, [key])
    for line in rows_where(connection, expected, expected.c.serial_key, [key]):
        keys |= keys_by_name(connection, line["name_key"])
    return keys
