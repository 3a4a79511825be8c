"""A person's decisions: two machines are one, one is several, a station's reports do not count.

A decision is taken back by its number, by the words it was made with, or by its machine.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from unbrick.errors import UsageError
from unbrick.events.short_code import is_short_code, plain_code
from unbrick.settings.strict import parse_json
from unbrick.tally.books.bulk import chunks, rows_of, rows_where, update_rows
from unbrick.tally.books.clock import moment_of
from unbrick.tally.books.schema import decisions, machines, runs
from unbrick.tally.count.bearing import Bears
from unbrick.tally.count.contradictions import note_said_sites
from unbrick.tally.count.counted_runs import first_of_runs, is_second
from unbrick.tally.count.counting import assign
from unbrick.tally.count.decisions import APART, What, decide, read_decisions, take_back
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.rows import Row
from unbrick.tally.count.runs import run_of
from unbrick.tally.records import NAMED, MachineRow
from unbrick.tally.show.finding import find_keys
from unbrick.tally.show.summary import rows_by_name

_NUMBERED = re.compile(r"decision:([0-9]{1,9})", re.IGNORECASE)
_OF_MACHINES = {What.MERGE: "other", What.SPLIT: "subject"}  # the column with the decision's machine


@dataclass(frozen=True)
class Decision:
    """A decision in force; `name` is for taking it back, `called` what it was made with, or a station."""

    name: str
    what: str
    called: tuple[str, ...]
    reason: str
    who: str
    at: datetime | None


def list_decisions(connection: Connection) -> list[Decision]:
    """Those in force, in the order in which they were made."""
    wanted = (What.MERGE, What.SPLIT, What.DISCOUNT)
    return [
        Decision(
            f"decision:{row['number']}",
            row["what"],
            tuple(parse_json(row["called"])) or (_shown(row["subject"]),),
            row["reason"],
            row["who"],
            moment_of(row["at"]),
        )
        for row in _in_force(connection, wanted)
    ]


def merge(connection: Connection, one: str, other: str, *, reason: str, who: str) -> list[MachineRow]:
    """Count `other` as the machine `one` from now on, also in future reports; returns the row."""
    kept, gone = key_of(connection, one), key_of(connection, other)
    if kept == gone:
        raise UsageError(f"{one} and {other} are one machine already")
    decide(connection, What.MERGE, gone, other=kept, called=(one, other), reason=reason, who=who)
    return _assigned_anew(connection, {kept, gone})


def unmerge(connection: Connection, one: str, *, who: str) -> list[MachineRow]:
    """Undo what was merged into a machine; returns the rows that there are then."""
    meant = _decisions_meant(connection, What.MERGE, one)
    if not meant:
        raise UsageError(f"nothing was merged into {one}")
    for row in meant:
        take_back(connection, What.MERGE, row["subject"], who=who)
    return _assigned_anew(connection, {row[name] for row in meant for name in ("subject", "other")})


def split(connection: Connection, one: str, *, by: str, reason: str, who: str) -> list[MachineRow]:
    """Count the runs of a machine as several machines, told apart by disk, serial number or name.

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
    meant = _decisions_meant(connection, What.SPLIT, one)
    if not meant:
        raise UsageError(f"{one} was not split")
    for row in meant:
        take_back(connection, What.SPLIT, row["subject"], who=who)
    return _assigned_anew(connection, {row["subject"] for row in meant})


def discount(
    connection: Connection, station: str, *, discounted: bool, reason: str, who: str
) -> list[MachineRow]:
    """Take a station's reports out of the count, or back into it; returns the changed rows.

    They are as they were before where the reports are taken out, as they are now where they count again.
    """
    if discounted:
        decide(connection, What.DISCOUNT, station, reason=reason, who=who)
    else:
        take_back(connection, What.DISCOUNT, station, who=who)
    query = select(runs.c.machine).where(runs.c.station == station).distinct()
    keys = set(connection.execute(query).scalars()) | _heard_anew(connection, station)
    before = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    refresh(connection, keys, ())
    note_said_sites(connection, [station])
    after = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    shown = {**after, **before} if discounted else {**before, **after}
    changed = [
        row
        for key, row in shown.items()
        if key not in before or key not in after or _differ(before[key], after[key])
    ]
    return rows_by_name(changed)


def _heard_anew(connection: Connection, station: str) -> set[str]:
    """Judge again what other runs took from the station's: who began a run, a disk's UUID or first name.

    Returns the keys of the machines that this changes.
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
    return any(one[name] != other[name] for name in ("status", "reason", "site", "station", "line", "held"))


def key_of(connection: Connection, wanted: str) -> str:
    """The one machine that a name, a serial number or a sticker's code means; raises UsageError."""
    keys = [key for key in find_keys(connection, wanted) if not key.startswith(NAMED)]
    if len(keys) != 1:
        raise UsageError(
            f"{len(keys)} machines that a medium has seen are meant by {wanted}",
            hint="name one by the code on its sticker: unbrick tally status DIR --find NAME shows it",
        )
    return keys[0]


def _assigned_anew(connection: Connection, keys: set[str]) -> list[MachineRow]:
    """Assign the runs of these machines, and of those split off them, to machines again."""
    reached = _machines_reached(connection, keys)
    records = [run_of(row) for row in rows_of(connection, select(runs).where(_is_run_of(reached)))]
    moved = assign(connection, records, read_decisions(connection))
    touched = {record.machine for record in records} | {key for _, key in moved}
    refresh(connection, touched | keys, ())
    shown = {key for key in touched if key.partition(APART)[0] in keys}
    shown |= {one for record, key in moved for one in (record.machine, key)}
    found = rows_where(connection, machines, machines.c.key, shown | keys)
    return rows_by_name(found)


def _decisions_meant(connection: Connection, what: What, wanted: str) -> Sequence[Row]:
    """The merges or splits in force of the machine that is called `wanted`, or was when they were made.

    Raises UsageError where there is none of that number, or where several machines may be meant.
    """
    rows = _in_force(connection, [what])
    numbered = _NUMBERED.fullmatch(wanted.strip())
    if numbered:
        rows = [row for row in rows if row["number"] == int(numbered[1])]
        if not rows:
            raise UsageError(
                f"there is no {what} in force with the number {wanted}",
                hint="those in force: unbrick tally contradictions DIR --all",
            )
        return rows
    place = _OF_MACHINES[what]
    called = {row[place] for row in rows if _is_called(wanted, parse_json(row["called"]))}
    keys = set(find_keys(connection, wanted))
    keys |= {key.partition(APART)[0] for key in keys} if what is What.SPLIT else set()
    found = {row[place] for row in rows if row[place] in keys}
    places = (called & found) or called | found
    if not places:
        places = {row[place] for row in rows if _showed(connection, row, wanted)}
    meant = [row for row in rows if row[place] in places]
    if len(places) > 1:
        listed = ", ".join(
            f"decision:{row['number']} ({', '.join(parse_json(row['called']))})" for row in meant
        )
        raise UsageError(f"several decisions on {wanted} are in force", hint=f"name one of them: {listed}")
    return meant


def _in_force(connection: Connection, wanted: Iterable[What]) -> list[dict[str, Any]]:
    here = (decisions.c.what.in_([what.value for what in wanted]), decisions.c.undone_at.is_(None))
    return list(rows_of(connection, select(decisions).where(*here).order_by(decisions.c.number)))


def _machines_reached(connection: Connection, keys: Iterable[str]) -> set[str]:
    """These machines, and all to which a merge ever moved their runs or those of machines split off them."""
    here = decisions.c.what == What.MERGE.value
    merges = connection.execute(select(decisions.c.subject, decisions.c.other).where(here)).all()
    reached = set(keys)
    while more := {
        other
        for subject, other in merges
        if other not in reached and reached & {subject, subject.partition(APART)[0]}
    }:
        reached |= more
    return reached


def _is_run_of(keys: Iterable[str]) -> ColumnElement[bool]:
    """Whether a run is of one of these machines, or of what was split off it."""
    here: ColumnElement[bool] = runs.c.machine.in_(sorted(keys))
    for key in keys:
        here = here | runs.c.machine.between(key + APART, key + chr(ord(APART) + 1))
    return here


def _is_called(wanted: str, called: Iterable[str]) -> bool:
    """Whether one of these is `wanted`, as names, serial numbers and sticker codes are compared."""
    return any(
        name_key(wanted) == name_key(one)
        or serial_key(wanted) == serial_key(one)
        or (is_short_code(wanted) and plain_code(wanted) == plain_code(one))
        for one in called
    )


def _showed(connection: Connection, row: Row, wanted: str) -> bool:
    keys = _machines_reached(connection, {row["subject"], row["other"]} - {""})
    return any(
        name_key(wanted) in run.name_keys or _is_called(wanted, filter(None, [run.serial, run.code]))
        for run in map(run_of, rows_of(connection, select(runs).where(_is_run_of(keys))))
    )


def _shown(subject: str) -> str:
    return subject.partition(":")[2].replace(APART, " ") or subject
