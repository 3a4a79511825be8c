"""The contradictions as a person reads them: which reports, when, and what settles each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, select

from unbrick.errors import UsageError
from unbrick.events.short_code import code_of_key, plain_code
from unbrick.tally.books.bulk import rows_of, rows_where
from unbrick.tally.books.clock import moment_of
from unbrick.tally.books.schema import contradictions, decisions, expected, machine_names, machines, runs
from unbrick.tally.count.counted_runs import Kind, mark_of_runs, subject_of
from unbrick.tally.count.decisions import Decisions, What, decide, read_decisions, take_back
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.names import name_key
from unbrick.tally.count.newcomers import note_held, number_brought, number_held, runs_held
from unbrick.tally.count.rows import Row
from unbrick.tally.count.runs import RunRecord, merge_names, run_of
from unbrick.text import counted

_MOST_RUNS = 50
_IS_SETTLED = exists().where(
    decisions.c.kind == contradictions.c.kind,
    decisions.c.subject == contradictions.c.subject,
    decisions.c.what.in_([What.COUNT.value, What.DISMISS.value]),
    decisions.c.undone_at.is_(None),
)
_HELD = {Kind.MANY, Kind.NAMESAKES}
_COUNTABLE = {Kind.INVENTORY, Kind.SITE, Kind.RUN, *_HELD}


@dataclass(frozen=True)
class Dispute:
    """One contradiction. `code` names it for `settle`; `settled` is `count`, `dismiss` or None.

    `would` is what would change if it counted; `settles` are the verbs of `unbrick tally` that settle it.
    `counted` says whether its machine is in the numbers, `machines` how many are not because of it.
    """

    code: str
    kind: str
    subject: str
    text: str
    stations: tuple[str, ...]
    since: datetime | None
    would: str
    settles: tuple[str, ...]
    settled: str | None
    counted: bool
    machines: int = 0


def list_disputes(connection: Connection, limit: int | None = None, *, settled: bool = True) -> list[Dispute]:
    decided = read_decisions(connection)
    table = contradictions
    query = select(table).order_by(table.c.uncounted.desc(), table.c.kind, table.c.subject)
    if not settled:
        query = query.where(~_IS_SETTLED)
    if limit is not None:
        query = query.limit(limit)
    return [_dispute(connection, row, decided) for row in list(rows_of(connection, query))]


def settle(connection: Connection, code: str, what: What | None, *, reason: str, who: str) -> Dispute:
    """Count or dismiss what a contradiction is about; None takes either back. Raises UsageError."""
    row = _row_of(connection, code)
    kind, subject = Kind(row["kind"]), row["subject"]
    if what is What.COUNT and kind not in _COUNTABLE:
        raise UsageError(
            "this contradiction keeps no report out of the count",
            hint="settle it with --dismiss, or see its verbs",
        )
    if what is None:
        for one in (What.COUNT, What.DISMISS):
            take_back(connection, one, subject, kind=kind.value, who=who)
    else:
        other = What.DISMISS if what is What.COUNT else What.COUNT
        take_back(connection, other, subject, kind=kind.value, who=who)
        decide(connection, what, subject, kind=kind.value, reason=reason, who=who)
    if kind in _HELD:
        refresh(connection, {one.machine for one in runs_held(connection, kind, subject)}, ())
        note_held(connection, [(kind, subject)], read_decisions(connection))
        row = _row_of(connection, code)
    elif row["machine"]:
        refresh(connection, [row["machine"]], ())
    return _dispute(connection, row, read_decisions(connection))


def code_of(kind: str, subject: str) -> str:
    return code_of_key(f"contradiction:{kind}:{subject}")  # the same whenever it is noted


def _row_of(connection: Connection, code: str) -> Row:
    table = contradictions
    known = list(rows_of(connection, select(table)))
    settled = read_decisions(connection)
    known += [
        {"kind": kind, "subject": subject, "machine": subject if kind in {Kind.INVENTORY, Kind.SITE} else ""}
        for kind, subject in settled.counted | settled.dismissed
    ]
    for row in known:
        if plain_code(code_of(row["kind"], row["subject"])) == plain_code(code):
            machine = row["machine"] or _machine_of(connection, row)
            return {**row, "machine": machine, "uncounted": row.get("uncounted", 0)}
    raise UsageError(
        f"there is no contradiction {code}",
        hint="its code is the first column of: unbrick tally contradictions DIR",
    )


def _machine_of(connection: Connection, row: Row) -> str:
    if row["kind"] not in {Kind.RUN, Kind.EVENTS}:
        return ""
    found = _runs_with(connection, row["subject"].partition("/")[0])
    return next((one.machine for one in found if subject_of(one) == row["subject"]), "")


def _dispute(connection: Connection, row: Row, decided: Decisions) -> Dispute:
    kind, subject = Kind(row["kind"]), row["subject"]
    place = (row["kind"], subject)
    settled = "count" if place in decided.counted else "dismiss" if place in decided.dismissed else None
    records = _records(connection, kind, row)
    stations = tuple(sorted({one.station for one in records}))
    text, would = _words(connection, kind, row, records)
    code = code_of(row["kind"], subject)
    return Dispute(
        code=code,
        kind=kind.value,
        subject=subject,
        text=text,
        stations=stations,
        since=moment_of(min((one.first_received for one in records), default=None)),
        would=would,
        settles=_settles(kind, code, stations, records),
        settled=settled,
        counted=not row["uncounted"],
        machines=row["uncounted"],
    )


def _records(connection: Connection, kind: Kind, row: Row) -> list[RunRecord]:
    if kind in {Kind.RUN, Kind.EVENTS}:
        return _runs_with(connection, row["subject"].partition("/")[0])
    if kind in _HELD:
        return [*runs_held(connection, kind, row["subject"], _MOST_RUNS)]
    if kind is Kind.SAID_SITE:
        query = select(runs).where(runs.c.station == row["subject"], runs.c.said_site.is_not(None))
    else:
        query = select(runs).where(runs.c.machine.in_(_keys(connection, kind, row)))
    return [run_of(one) for one in rows_of(connection, query.limit(_MOST_RUNS))]


def _runs_with(connection: Connection, run: str) -> list[RunRecord]:
    return [run_of(one) for one in rows_where(connection, runs, runs.c.run, [run])]


def _keys(connection: Connection, kind: Kind, row: Row) -> list[str]:
    if kind is Kind.NAME:
        named = rows_where(connection, machine_names, machine_names.c.name_key, [row["subject"]])
        return [one["key"] for one in named[:_MOST_RUNS]]
    if kind is Kind.SERIAL:
        found = rows_where(connection, machines, machines.c.serial_key, [row["subject"]])
        return [one["key"] for one in found[:_MOST_RUNS]]
    return [row["machine"]]


def _words(connection: Connection, kind: Kind, row: Row, records: Sequence[RunRecord]) -> tuple[str, str]:
    subject, run = row["subject"], row["subject"].partition("/")[0]
    if kind in _HELD:
        return _words_of_held(connection, kind, subject)
    names = merge_names(*(one.names for one in records))
    called = names[0] if names else next((one.serial or one.disk_guid or one.run for one in records), subject)
    mark = mark_of_runs(records)
    status = mark.status.value if mark else "seen"
    sites = _listed(one.site for one in records)
    if kind is Kind.INVENTORY:
        lines = rows_where(connection, expected, expected.c.name_key, sorted(map(name_key, names)))
        listed = "; ".join(
            f"{line['name']}: serial {line['serial'] or '-'}, site {line['site'] or '-'}" for line in lines
        )
        serials = _listed(one.serial for one in records)
        text = f"{called} (serial {serials}, site {sites}) is {status}, but the inventory has {listed}"
        return text, f"{called} would be {status} and no longer expected"
    if kind is Kind.SITE:
        return f"{called} is reported by stations of several sites: {sites}", f"{called} would be {status}"
    if kind is Kind.RUN:
        stations = _listed(one.station for one in records)
        return f"{called}: several stations signed the run {run}: {stations}", f"{called} would be {status}"
    if kind is Kind.EVENTS:
        number = sum(one.contradicted for one in records)
        have = "has" if number == 1 else "have"
        said = f"{counted(number, 'event')} of the run {run} {have} the number of another event"
        return f"{called}: {said}", "nothing"
    if kind is Kind.LINES:
        return f"{called} reports more than one line of the inventory: {_listed(names)}", "nothing"
    if kind is Kind.SAID_SITE:
        said = _listed(one.said_site for one in records)
        return f"station {subject} is enrolled for {sites} and names {said}: {sites} counts", "nothing"
    what = {Kind.UUID: "firmware UUID", Kind.NAME: "computer name", Kind.SERIAL: "serial number"}[kind]
    seen = f"names {_listed(names)}; serials {_listed(one.serial for one in records)}"
    disks = _listed(one.disk_guid for one in records)
    return f"one {what} ({subject}), several computers? {seen}; disks {disks}", "one machine or several"


def _words_of_held(connection: Connection, kind: Kind, subject: str) -> tuple[str, str]:
    station, _, rest = subject.partition("/")
    held = number_held(connection, kind, subject)
    would = f"{counted(held, 'machine')} more would count"
    if kind is Kind.MANY:
        every = held + number_brought(connection, subject)
        brought = f"station {station} brought {counted(every, 'machine')} on {rest}"
        return f"{brought} that nobody knew, {held:,} too many", would
    number = f"{held + 1:,} machines"
    return f"station {station} brought {number} that are all called {rest}: the first one counts", would


def _listed(values: Iterable[str | None]) -> str:
    known = sorted({value for value in values if value})
    return ", ".join([*known[:4], *([f"and {len(known) - 4} more"] if len(known) > 4 else [])]) or "-"


def _settles(kind: Kind, code: str, stations: Sequence[str], records: Sequence[RunRecord]) -> tuple[str, ...]:
    answer: list[str] = []
    if kind in _COUNTABLE:
        answer.append(f"settle DIR {code} --count --reason TEXT")
    if kind is Kind.UUID:
        answer.append(f"split DIR MACHINE --by {_tells_apart(records)} --reason TEXT")
    if kind in {Kind.NAME, Kind.SERIAL}:
        answer.append("merge DIR MACHINE MACHINE --reason TEXT")
    answer.append(f"settle DIR {code} --dismiss --reason TEXT")
    if kind in {*_COUNTABLE, Kind.EVENTS, Kind.SAID_SITE}:
        answer += [f"revoke DIR {one} --discount" for one in stations[:3]]
    return tuple(answer)


def _tells_apart(records: Sequence[RunRecord]) -> str:
    if len({one.serial for one in records if one.serial}) > 1:
        return "serial"
    return "name" if len({one.first_name_key for one in records}) > 1 else "disk"


def as_document(one: Dispute) -> dict[str, Any]:
    return asdict(one) | {
        "since": one.since.isoformat() if one.since else None,
        "settles": [f"unbrick tally {verb}" for verb in one.settles],
    }
