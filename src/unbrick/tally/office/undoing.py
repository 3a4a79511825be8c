"""Which decision a person takes back: by what it was made with, its number, or what its machine shows."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from unbrick.errors import UsageError
from unbrick.events.short_code import is_short_code, plain_code
from unbrick.settings.strict import parse_json
from unbrick.tally.books.bulk import rows_of
from unbrick.tally.books.clock import moment_of
from unbrick.tally.books.schema import decisions, runs
from unbrick.tally.count.decisions import APART, What
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.rows import Row
from unbrick.tally.count.runs import run_of
from unbrick.tally.show.finding import find_keys

_NUMBERED = re.compile(r"decision:([0-9]{1,9})", re.IGNORECASE)
_OF_MACHINES = {What.MERGE: "other", What.SPLIT: "subject"}
"""Where the machine stands that such a decision is about."""


@dataclass(frozen=True)
class Decision:
    """A decision in force; `name` takes it back, `called` is what it was made with, or a station."""

    name: str
    what: str
    called: tuple[str, ...]
    reason: str
    who: str
    at: datetime | None


def list_decisions(connection: Connection) -> list[Decision]:
    """The merges, splits and discounts in force, in the order in which they were made."""
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


def decisions_meant(connection: Connection, what: What, wanted: str) -> Sequence[Row]:
    """The merges or splits in force of the machine that is called so, or was when they were made.

    Raises UsageError where there are none, or where machines that were decided on apart may be meant.
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


def machines_reached(connection: Connection, keys: Iterable[str]) -> set[str]:
    """These, and all to which a merge ever brought their runs or those of what was split off them."""
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


def _is_called(wanted: str, called: Iterable[str]) -> bool:
    """Whether a machine was named so, as names, serial numbers and sticker codes are compared."""
    return any(
        name_key(wanted) == name_key(one)
        or serial_key(wanted) == serial_key(one)
        or (is_short_code(wanted) and plain_code(wanted) == plain_code(one))
        for one in called
    )


def _showed(connection: Connection, row: Row, wanted: str) -> bool:
    """Whether any run of a decision's machines shows that, be it counted or not."""
    here = runs.c.machine == ""
    for key in machines_reached(connection, {row["subject"], row["other"]} - {""}):
        here = here | (runs.c.machine == key) | runs.c.machine.between(key + APART, key + chr(ord(APART) + 1))
    return any(
        name_key(wanted) in run.name_keys or _is_called(wanted, filter(None, [run.serial, run.code]))
        for run in map(run_of, rows_of(connection, select(runs).where(here)))
    )


def _shown(subject: str) -> str:
    return subject.partition(":")[2].replace(APART, " ") or subject
