"""Finds machines by what a person can read out: a computer name, a sticker's code, a serial number.

Each is an index's work: what it costs does not depend on how many machines there are.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from unbrick.events.short_code import is_short_code, plain_code
from unbrick.tally.books.bulk import rows_where
from unbrick.tally.books.schema import expected, machines, runs
from unbrick.tally.count.machines import machines_called, machines_with_serials
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.records import NAMED, MachineRow
from unbrick.tally.show.summary import machine_row_of


def find_machines(connection: Connection, wanted: str) -> tuple[MachineRow, ...]:
    """The rows of the machines that `wanted` may mean, by name."""
    rows = rows_where(connection, machines, machines.c.key, find_keys(connection, wanted))
    return tuple(map(machine_row_of, sorted(rows, key=lambda row: (row["name_key"], row["key"]))))


def find_keys(connection: Connection, wanted: str) -> list[str]:
    """The keys of the machines that `wanted` may mean, in any case; those that nobody knows are none."""
    keys = keys_by_name(connection, name_key(wanted)) | keys_by_serial(connection, serial_key(wanted))
    if is_short_code(wanted):
        keys |= keys_by_code(connection, wanted)
    return sorted(keys)


def keys_by_name(connection: Connection, key: str) -> set[str]:
    """Those that reported under a name, are expected under it, or were named so by a person."""
    keys = {row["key"] for row in rows_where(connection, machines, machines.c.name_key, [key])}
    named = rows_where(connection, machines, machines.c.key, [NAMED + key])
    return keys | {row["key"] for row in named} | set(machines_called(connection, key))


def keys_by_code(connection: Connection, code: str) -> set[str]:
    """Those for which a run counts whose station showed that code, with any dashes and spaces."""
    query = select(runs.c.machine).where(runs.c.code == plain_code(code)).distinct()
    return set(connection.execute(query).scalars())


def keys_by_serial(connection: Connection, key: str) -> set[str]:
    """Those that reported that serial number, or whose line in the inventory has it."""
    if not key:
        return set()
    keys = machines_with_serials(connection, [key])
    for line in rows_where(connection, expected, expected.c.serial_key, [key]):
        keys |= keys_by_name(connection, line["name_key"])
    return keys
