"""The contradictions as a person reads them: which reports, when, and what settles each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from unbrick.errors import UsageError
from unbrick.events.short_code import code_of_key, plain_code
from unbrick.tally.books.bulk import rows_of, rows_where
from unbrick.tally.books.clock import moment_of
from unbrick.tally.books.schema import (
    brought,
    contradictions,
    decisions,
    expected,
    machine_names,
    machines,
    namesakes,
    newcomers,
    runs,
)
from unbrick.tally.count.counted_runs import Kind, mark_of_runs, subject_of
from unbrick.tally.count.counting import next_number
from unbrick.tally.count.decisions import (
    APART,
    NO_END,
    Decisions,
    What,
    decide,
    place_and_begin,
    read_decisions,
    take_back,
)
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.names import name_key
from unbrick.tally.count.newcomers import Newcomers, State
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
    rows = list(rows_of(connection, query))
    if settled and limit is None:
        rows += _let_count(decided, rows)
    return [_dispute(connection, row, decided) for row in rows]


def _let_count(decided: Decisions, rows: Sequence[Row]) -> list[dict[str, Any]]:
    """What a station brought and a person let count: it holds nothing any more, and may be taken back."""
    known = {(row["kind"], row["subject"]) for row in rows}
    counted = sorted(one for one in decided.counted - known if one[0] in _HELD)
    return [{"kind": kind, "subject": subject, "machine": "", "uncounted": 0} for kind, subject in counted]


def settle(connection: Connection, code: str, what: What | None, *, reason: str, who: str) -> Dispute:
    """Count or dismiss what a contradiction is about; None takes either back. Raises UsageError."""
    row = _row_of(connection, code)
    kind, subject = Kind(row["kind"]), row["subject"]
    if what is What.COUNT and kind not in _COUNTABLE:
        raise UsageError(
            "this contradiction keeps no report out of the count",
            hint="settle it with --dismiss, or see its verbs",
        )
    decided = read_decisions(connection)
    if what is None:
        for one in (What.COUNT, What.DISMISS):
            take_back(connection, one, subject, kind=kind.value, who=who)
    else:
        other = What.DISMISS if what is What.COUNT else What.COUNT
        take_back(connection, other, subject, kind=kind.value, who=who)
        end = _end_of(connection, kind, subject, decided) if kind in _HELD else ""
        decide(connection, what, subject, kind=kind.value, other=end, reason=reason, who=who)
    if kind in _HELD:
        _judge_again(connection, kind, subject)
        now = rows_where(connection, contradictions, contradictions.c.subject, [subject])
        row = {**row, "uncounted": sum(one["uncounted"] for one in now if one["kind"] == kind)}
    elif row["machine"]:
        refresh(connection, [row["machine"]], ())
    return _dispute(connection, row, read_decisions(connection))


def _end_of(connection: Connection, kind: Kind, subject: str, decided: Decisions) -> str:
    """Up to which report a decision holds: what comes later is another contradiction."""
    *_, end = decided.span_of(kind, subject)
    return str(end if end != NO_END else next_number(connection) - 1)


def _judge_again(connection: Connection, kind: Kind, subject: str) -> None:
    """Judge all machines of the same station and day, or name, after a decision or without it."""
    place, _ = place_and_begin(subject)
    if kind is Kind.MANY:
        here = (brought.c.place == place, brought.c.state == State.BEYOND.value)
        concerned = set(connection.execute(select(brought.c.machine).where(*here)).scalars())
    else:
        query = select(namesakes.c.machine).where(namesakes.c.place == place)
        concerned = set(connection.execute(query).scalars())
    judged = Newcomers(connection, read_decisions(connection))
    judged.look_again(concerned)
    refresh(connection, judged.again, ())


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
    records = _records(connection, kind, row, decided)
    stations = tuple(sorted({one.station for one in records}))
    text, would = _words(connection, kind, row, records, decided)
    code = code_of(row["kind"], subject)
    return Dispute(
        code=code,
        kind=kind.value,
        subject=subject.replace(APART, " after "),
        text=text,
        stations=stations,
        since=moment_of(min((one.first_received for one in records), default=None)),
        would=would,
        settles=_settles(kind, code, stations, records),
        settled=settled,
        counted=not row["uncounted"],
        machines=row["uncounted"],
    )


def _records(connection: Connection, kind: Kind, row: Row, decided: Decisions) -> list[RunRecord]:
    if kind in {Kind.RUN, Kind.EVENTS}:
        return _runs_with(connection, row["subject"].partition("/")[0])
    if kind in _HELD:
        return _runs_held(connection, kind, row["subject"], decided)
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


def _words(
    connection: Connection, kind: Kind, row: Row, records: Sequence[RunRecord], decided: Decisions
) -> tuple[str, str]:
    subject, run = row["subject"], row["subject"].partition("/")[0]
    if kind in _HELD:
        return _words_of_held(connection, kind, row, decided)
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


def _words_of_held(connection: Connection, kind: Kind, row: Row, decided: Decisions) -> tuple[str, str]:
    place, begin = place_and_begin(row["subject"])
    station, _, rest = place.partition("/")
    beyond = _number_held(connection, kind, row["subject"], decided)
    held = row["uncounted"] or beyond
    would = f"{counted(held, 'machine')} more would count"
    later = ", after a decision on those before," if begin else ""
    if kind is Kind.MANY:
        day = newcomers.c.place == place
        placed = 0 if begin else connection.execute(select(newcomers.c.placed).where(day)).scalar() or 0
        number = f"{counted(placed + beyond, 'machine')}{' more' if begin else ''} on {rest}{later}"
        return f"station {station} brought {number} that nobody knew, {held:,} too many", would
    number = f"{counted(held if begin else held + 1, 'machine')}{' more' if begin else ''}{later}"
    text = f"station {station} brought {number} that are all called {rest}: the first one counts"
    return text, f"up to {would}"


def _held_here(kind: Kind, subject: str, decided: Decisions) -> tuple[Any, list[ColumnElement[bool]]]:
    """The table and the rows of it that such a contradiction is about."""
    place, begin, end = decided.span_of(kind, subject)
    table = brought if kind is Kind.MANY else namesakes
    here = [table.c.place == place, table.c.first > begin, table.c.first <= end]
    return table, [*here, brought.c.state == State.BEYOND.value] if kind is Kind.MANY else here


def _number_held(connection: Connection, kind: Kind, subject: str, decided: Decisions) -> int:
    """How many machines are too many, whether or not they count by a person's word or another visit."""
    table, here = _held_here(kind, subject, decided)
    number = connection.execute(select(func.count()).select_from(table).where(*here)).scalar_one()
    _, begin = place_and_begin(subject)
    return number if kind is Kind.MANY or begin else max(number - 1, 0)


def _runs_held(connection: Connection, kind: Kind, subject: str, decided: Decisions) -> list[RunRecord]:
    table, here = _held_here(kind, subject, decided)
    is_its_run = and_(runs.c.first == table.c.first, runs.c.machine == table.c.machine)
    query = select(runs).join(table, is_its_run).where(*here).order_by(runs.c.first).limit(_MOST_RUNS)
    return [run_of(row) for row in rows_of(connection, query)]


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
