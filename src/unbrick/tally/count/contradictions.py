"""Keeps the table of contradictions true.

A machine's own are written with its row; those between machines (one name, one serial number) and those of a
station are looked up again where one of them changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import BindParameter, Connection, bindparam, case, func, select

from unbrick.tally.books.bulk import (
    chunks,
    delete_rows,
    insert_rows,
    move_numbers,
    rows_of,
    rows_where,
    update_rows,
)
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import contradictions, machine_names, machines, runs, totals
from unbrick.tally.count.counted_runs import Judged, Kind
from unbrick.tally.count.decisions import APART

CONTRADICTIONS, UNCOUNTED = "contradictions", "uncounted"
"""How many there are, and how many keep a machine out of the numbers, among the totals."""

_WANTED: BindParameter[Any] = bindparam("wanted", expanding=True)
# What a person told apart (`split`) is not asked about again, though the parts have a name in common.
_END = func.instr(machines.c.key, bindparam("apart", APART))
_WHOLE = case((_END > 0, func.substr(machines.c.key, 1, _END - 1)), else_=machines.c.key)
_SHARED_NAMES = Prepared(
    select(machine_names.c.name_key.label("subject"))
    .join(machines, machines.c.key == machine_names.c.key)
    .where(machine_names.c.name_key.in_(_WANTED), machines.c.held.is_(None))
    .group_by(machine_names.c.name_key)
    .having(func.count(_WHOLE.distinct()) > 1)
)
_SHARED_SERIALS = Prepared(
    select(machines.c.serial_key.label("subject"))
    .where(machines.c.serial_key.in_(_WANTED), machines.c.held.is_(None))
    .group_by(machines.c.serial_key)
    .having(func.count(_WHOLE.distinct()) > 1)
)
_SAID_SITES = Prepared(
    select(runs.c.station.label("subject"))
    .where(runs.c.station.in_(_WANTED), runs.c.said_site.is_not(None))
    .distinct()
)


def rows_of_machine(judged: Judged) -> list[dict[str, Any]]:
    """The rows of a machine's own contradictions; the first counts the machine where it is in no number."""
    rows = [
        {"kind": kind.value, "subject": subject, "machine": judged.key, "uncounted": 0}
        for kind, subject in sorted(judged.contradictions)
    ]
    if rows and not judged.counted:
        rows[0]["uncounted"] = 1
    return rows


def shared_row(kind: Kind, subject: str) -> dict[str, Any]:
    return {"kind": kind.value, "subject": subject, "machine": "", "uncounted": 0}


def note_machines(connection: Connection, keys: Sequence[str], judged: Iterable[Judged]) -> None:
    before = rows_where(connection, contradictions, contradictions.c.machine, keys)
    write_contradictions(connection, before, [row for one in judged for row in rows_of_machine(one)])


def note_shared(connection: Connection, names: Collection[str], serials: Collection[str]) -> None:
    """Look up again whether several machines have one of these names or serial numbers."""
    wanted = [(Kind.NAME, one) for one in sorted(names)] + [(Kind.SERIAL, one) for one in sorted(serials)]
    for chunk in chunks(wanted):
        _note_shared(connection, chunk, {Kind.NAME: _SHARED_NAMES, Kind.SERIAL: _SHARED_SERIALS})


def held_row(held: str, number: int) -> dict[str, Any]:
    """The row of a contradiction, as `machines.held` has it, that keeps so many machines out of the count."""
    kind, _, subject = held.partition(":")
    return {"kind": kind, "subject": subject, "machine": "", "uncounted": number}


def move_held(connection: Connection, moved: Mapping[str, int]) -> None:
    """Add to how many machines are held by contradictions, each as `machines.held` has it."""
    wanted = {held: by for held, by in moved.items() if by}
    subjects = sorted({held.partition(":")[2] for held in wanted})
    found = rows_where(connection, contradictions, contradictions.c.subject, subjects)
    before = {held: row for row in found if (held := f"{row['kind']}:{row['subject']}") in wanted}
    now = {held: by + (before[held]["uncounted"] if held in before else 0) for held, by in wanted.items()}
    after = [held_row(held, number) for held, number in now.items() if number]
    write_contradictions(connection, list(before.values()), after)


def note_said_sites(connection: Connection, stations: Collection[str]) -> None:
    """Look up again whether these stations name another site than theirs."""
    for chunk in chunks((Kind.SAID_SITE, one) for one in sorted(stations)):
        _note_shared(connection, chunk, {Kind.SAID_SITE: _SAID_SITES})


def _note_shared(
    connection: Connection, wanted: Collection[tuple[Kind, str]], queries: Mapping[Kind, Prepared]
) -> None:
    subjects = {subject for _, subject in wanted}
    found = rows_where(connection, contradictions, contradictions.c.subject, sorted(subjects))
    places = set(wanted)
    before = [row for row in found if (row["kind"], row["subject"]) in places]
    after = []
    for kind, query in queries.items():
        if asked := [subject for of, subject in wanted if of is kind]:
            after += [
                shared_row(kind, row["subject"]) for row in rows_of(connection, query, {"wanted": asked})
            ]
    write_contradictions(connection, before, after)


def write_contradictions(
    connection: Connection, before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]
) -> None:
    """Replace contradictions, and move their numbers among the totals."""
    if not before and not after:
        return
    old = {(row["kind"], row["subject"]): row for row in before}
    new = {(row["kind"], row["subject"]): row for row in after}
    delete_rows(connection, contradictions, [row for place, row in old.items() if place not in new])
    insert_rows(connection, contradictions, [row for place, row in new.items() if place not in old])
    changed = [row for place, row in new.items() if place in old and old[place] != row]
    update_rows(connection, contradictions, changed)
    by = {
        CONTRADICTIONS: len(new) - len(old),
        UNCOUNTED: sum(row["uncounted"] for row in new.values())
        - sum(row["uncounted"] for row in old.values()),
    }
    move_numbers(connection, totals, {(name,): {"value": number} for name, number in by.items()})
