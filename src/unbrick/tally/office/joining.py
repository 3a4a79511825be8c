"""What a person decides: two machines are one, one is several, a station's word does not count."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, select

from unbrick.errors import UsageError
from unbrick.tally.books.bulk import chunks, rows_of, rows_where, update_rows
from unbrick.tally.books.schema import machines, runs
from unbrick.tally.count.bearing import Bears
from unbrick.tally.count.contradictions import note_said_sites
from unbrick.tally.count.counted_runs import first_of_runs, is_second
from unbrick.tally.count.counting import assign
from unbrick.tally.count.decisions import APART, What, decide, read_decisions, take_back
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.newcomers import held_of_station, note_held
from unbrick.tally.count.runs import run_of
from unbrick.tally.office.undoing import decisions_meant, machines_reached
from unbrick.tally.records import NAMED, MachineRow
from unbrick.tally.show.finding import find_keys
from unbrick.tally.show.summary import machine_row_of


def merge(connection: Connection, one: str, other: str, *, reason: str, who: str) -> list[MachineRow]:
    """Count `other` as the machine `one` from now on, reports still to come too; returns the row."""
    kept, gone = key_of(connection, one), key_of(connection, other)
    if kept == gone:
        raise UsageError(f"{one} and {other} are one machine already")
    decide(connection, What.MERGE, gone, other=kept, called=(one, other), reason=reason, who=who)
    return _assigned_anew(connection, {kept, gone})


def unmerge(connection: Connection, one: str, *, who: str) -> list[MachineRow]:
    """Take back what was merged into a machine; returns the rows that there are then."""
    meant = decisions_meant(connection, What.MERGE, one)
    if not meant:
        raise UsageError(f"nothing was merged into {one}")
    for row in meant:
        take_back(connection, What.MERGE, row["subject"], who=who)
    return _assigned_anew(connection, {row[name] for row in meant for name in ("subject", "other")})


def split(connection: Connection, one: str, *, by: str, reason: str, who: str) -> list[MachineRow]:
    """Count the runs of a machine as those of several, told apart by disk, serial number or name.

    Raises UsageError where that tells nothing apart.
    """
    key = key_of(connection, one).partition(APART)[0]
    decide(connection, What.SPLIT, key, other=by, called=(one,), reason=reason, who=who)
    rows = _assigned_anew(connection, {key})
    if len([row for row in rows if row.key.partition(APART)[0] == key]) < 2:
        others = " or ".join(f"--by {other}" for other in ("serial", "name", "disk") if other != by)
        raise UsageError(f"the {by} tells nothing apart of {one}: it stays one machine", hint=f"try {others}")
    return rows


def unsplit(connection: Connection, one: str, *, who: str) -> list[MachineRow]:
    """Take back that a machine was split; returns its row."""
    meant = decisions_meant(connection, What.SPLIT, one)
    if not meant:
        raise UsageError(f"{one} was not split")
    for row in meant:
        take_back(connection, What.SPLIT, row["subject"], who=who)
    return _assigned_anew(connection, {row["subject"] for row in meant})


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
    if discounted:
        decide(connection, What.DISCOUNT, station, reason=reason, who=who, at=at)
    else:
        take_back(connection, What.DISCOUNT, station, who=who, at=at)
    query = select(runs.c.machine).where(runs.c.station == station).distinct()
    keys = set(connection.execute(query).scalars()) | _heard_anew(connection, station)
    before = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    refresh(connection, keys, ())
    note_said_sites(connection, [station])
    note_held(connection, held_of_station(connection, station), read_decisions(connection))
    after = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    changed = [row for key, row in before.items() if key not in after or _differ(row, after[key])]
    changed += [row for key, row in after.items() if key not in before]
    return [machine_row_of(row) for row in sorted(changed, key=lambda row: (row["name_key"], row["key"]))]


def _heard_anew(connection: Connection, station: str) -> set[str]:
    """Look again at what other runs took from a station's: who began a run's id, a disk's firmware UUID or
    first name. Returns the keys of the machines that this touches.
    """
    decided = read_decisions(connection)
    own = select(runs.c.run, runs.c.disk_guid).where(runs.c.station == station)
    shown = connection.execute(own).all()
    keys = set()
    for chunk in chunks(sorted({run for run, _ in shown})):
        found = [run_of(row) for row in rows_where(connection, runs, runs.c.run, chunk)]
        begun = first_of_runs(found, decided)
        seconds = [replace(one, second=is_second(one, begun), bears=Bears.RECENT.value) for one in found]
        changed = [new for old, new in zip(found, seconds, strict=True) if old.second != new.second]
        update_rows(connection, runs, [one.to_row() for one in changed])
        keys |= {one.machine for one in changed}
    for chunk in chunks(sorted({disk for _, disk in shown if disk})):
        here = (runs.c.disk_guid.in_(chunk), runs.c.smbios_uuid.is_(None))
        records = [run_of(row) for row in rows_of(connection, select(runs).where(*here))]
        for record, key in assign(connection, records, decided):
            keys |= {record.machine, key}
    return keys


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
    reached = machines_reached(connection, keys)
    here: ColumnElement[bool] = runs.c.machine.in_(sorted(reached))
    for key in reached:
        here = here | runs.c.machine.between(key + APART, key + chr(ord(APART) + 1))
    records = [run_of(row) for row in rows_of(connection, select(runs).where(here))]
    moved = assign(connection, records, read_decisions(connection))
    touched = {record.machine for record in records} | {key for _, key in moved}
    refresh(connection, touched | keys, ())
    shown = {key for key in touched if key.partition(APART)[0] in keys}
    shown |= {one for record, key in moved for one in (record.machine, key)}
    found = rows_where(connection, machines, machines.c.key, shown | keys)
    return [machine_row_of(row) for row in sorted(found, key=lambda row: (row["name_key"], row["key"]))]
