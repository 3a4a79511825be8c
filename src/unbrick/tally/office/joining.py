"""What a person decides: two machines are one, one is several, a station's word does not count."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from unbrick.errors import UsageError
from unbrick.tally.books.bulk import rows_of, rows_where
from unbrick.tally.books.schema import machines, runs
from unbrick.tally.count.contradictions import note_said_sites
from unbrick.tally.count.counting import assign
from unbrick.tally.count.decisions import APART, What, decide, read_decisions, take_back
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.runs import run_of
from unbrick.tally.records import NAMED, MachineRow
from unbrick.tally.show.finding import find_keys
from unbrick.tally.show.summary import machine_row_of

BY = ("disk", "serial", "name")


def merge(connection: Connection, one: str, other: str, *, reason: str, who: str) -> list[MachineRow]:
    """Count `other` as the machine `one` from now on, reports still to come too; returns the row."""
    kept, gone = key_of(connection, one), key_of(connection, other)
    if kept == gone:
        raise UsageError(f"{one} and {other} are one machine already")
    decide(connection, What.MERGE, gone, other=kept, reason=reason, who=who)
    return _assigned_anew(connection, {kept, gone})


def unmerge(connection: Connection, one: str, *, who: str) -> list[MachineRow]:
    """Take back what was merged into a machine; returns the rows that there are then."""
    key = key_of(connection, one)
    into = [gone for gone, kept in read_decisions(connection).merged.items() if kept == key]
    if not into:
        raise UsageError(f"nothing was merged into {one}")
    for gone in into:
        take_back(connection, What.MERGE, gone, who=who)
    return _assigned_anew(connection, {key, *into})


def split(connection: Connection, one: str, *, by: str, reason: str, who: str) -> list[MachineRow]:
    """Count the runs of a machine as those of several, told apart by disk, serial number or name.

    Raises UsageError where that tells nothing apart.
    """
    key = key_of(connection, one).partition(APART)[0]
    decide(connection, What.SPLIT, key, other=by, reason=reason, who=who)
    rows = _assigned_anew(connection, {key})
    if len(rows) < 2:
        others = " or ".join(f"--by {other}" for other in ("serial", "name", "disk") if other != by)
        raise UsageError(f"the {by} tells nothing apart of {one}: it stays one machine", hint=f"try {others}")
    return rows


def unsplit(connection: Connection, one: str, *, who: str) -> list[MachineRow]:
    """Take back that a machine was split; returns its row."""
    keys = {key.partition(APART)[0] for key in _found(connection, one)}
    taken = [key for key in keys if take_back(connection, What.SPLIT, key, who=who)]
    if not taken:
        raise UsageError(f"{one} was not split")
    return _assigned_anew(connection, set(taken))


def discount(
    connection: Connection,
    station: str,
    *,
    discounted: bool,
    reason: str,
    who: str,
    at: datetime | None = None,
) -> list[MachineRow]:
    """Take a station's word out of the count, or into it again; returns the rows that rested on it before."""
    query = select(runs.c.machine).where(runs.c.station == station).distinct()
    keys = set(connection.execute(query).scalars())
    before = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    if discounted:
        decide(connection, What.DISCOUNT, station, reason=reason, who=who, at=at)
    else:
        take_back(connection, What.DISCOUNT, station, who=who, at=at)
    refresh(connection, keys, ())
    note_said_sites(connection, [station])
    after = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    changed = [row for key, row in before.items() if key not in after or _differ(row, after[key])]
    changed += [row for key, row in after.items() if key not in before]
    return [machine_row_of(row) for row in sorted(changed, key=lambda row: (row["name_key"], row["key"]))]


def _differ(one: dict[str, object], other: dict[str, object]) -> bool:
    return any(one[name] != other[name] for name in ("status", "reason", "site", "station", "line"))


def key_of(connection: Connection, wanted: str) -> str:
    """The one machine that a name, a serial number or a sticker's code means; raises UsageError."""
    keys = _found(connection, wanted)
    if len(keys) != 1:
        raise UsageError(
            f"{len(keys)} machines that a medium has seen are meant by {wanted}",
            hint="name one by the code on its sticker: unbrick tally status DIR --find NAME shows it",
        )
    return keys[0]


def _found(connection: Connection, wanted: str) -> list[str]:
    return [key for key in find_keys(connection, wanted) if not key.startswith(NAMED)]


def _assigned_anew(connection: Connection, keys: set[str]) -> list[MachineRow]:
    """Give the runs of these machines, and of what was split off them, their machines again."""
    here: ColumnElement[bool] = runs.c.machine.in_(sorted(keys))
    for key in keys:
        here = here | runs.c.machine.between(key + APART, key + chr(ord(APART) + 1))
    records = [run_of(row) for row in rows_of(connection, select(runs).where(here))]
    moved = assign(connection, records, read_decisions(connection))
    touched = {record.machine for record in records} | {key for _, key in moved}
    refresh(connection, touched | keys, ())
    found = rows_where(connection, machines, machines.c.key, touched | keys)
    return [machine_row_of(row) for row in sorted(found, key=lambda row: (row["name_key"], row["key"]))]
