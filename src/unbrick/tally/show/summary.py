"""What the screens read: the numbers from the counters, and rows of machines and events."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection, Select, and_, func, or_, select

from unbrick.events.event import parse_event
from unbrick.events.standing import mark_of
from unbrick.tally.books.bulk import rows_of, rows_where
from unbrick.tally.books.clock import MICROSECONDS_A_MINUTE, microseconds, moment_of, present
from unbrick.tally.books.schema import (
    contradictions,
    counters,
    decisions,
    events,
    expected,
    machines,
    minutes,
    runs,
    totals,
    unlisted,
)
from unbrick.tally.count.contradictions import CONTRADICTIONS, UNCOUNTED
from unbrick.tally.count.counted_runs import Kind
from unbrick.tally.count.identities import NO_IDENTITY
from unbrick.tally.count.machines import machines_called
from unbrick.tally.count.names import name_key
from unbrick.tally.count.rows import Row
from unbrick.tally.records import FINISHED, NAMED, Basis, MachineLine, MachineRow, RecentEvent, Summary
from unbrick.tally.show.board import STUCK
from unbrick.tally.show.pace import count_in, estimate, is_stalled, rates, window_minutes

_LONGEST_WINDOW, _SHORT_WINDOW = 60, 5
_AT_ONCE = 500
_SETTLED = (
    select(contradictions.c.kind, contradictions.c.subject, contradictions.c.uncounted)
    .join(
        decisions,
        and_(contradictions.c.kind == decisions.c.kind, contradictions.c.subject == decisions.c.subject),
    )
    .where(decisions.c.undone_at.is_(None))
    .distinct()
)
_HELD = select(func.sum(contradictions.c.uncounted)).where(
    contradictions.c.kind.in_([Kind.MANY.value, Kind.NAMESAKES.value])
)
# Numbers with a place of their own on the screens, by name; the cost of none may grow with the fleet.
NUMBERS: dict[str, Select[int]] = {
    "without_identity": select(func.count()).where(
        runs.c.machine >= NO_IDENTITY, runs.c.machine < NO_IDENTITY[:-1] + chr(ord(NO_IDENTITY[-1]) + 1)
    ),
}


def summarise(connection: Connection, now: datetime | None = None) -> Summary:
    by_status: Counter[str] = Counter()
    by_basis: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    sites: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows_of(connection, select(counters)):
        status, count = row["status"], row["machines"]
        by_status[status] += count
        by_basis[row["basis"]][status] += count
        sites[row["site"]][status] += count
        if row["reason"]:
            reasons[status][row["reason"]] += count
    total = sum(by_status.values())
    finished = sum(count for status, count in by_status.items() if status in FINISHED)
    known = {row["name"]: row["value"] for row in rows_of(connection, select(totals))}
    settled = list(rows_of(connection, _SETTLED))
    summary = Summary(
        total=total,
        by_status=dict(by_status),
        reasons={status: dict(counts) for status, counts in reasons.items()},
        sites={site: dict(counts) for site, counts in sites.items()},
        proved=dict(by_basis[Basis.PROVED]),
        marked=dict(by_basis[Basis.MARKED]),
        expected=sum(by_basis[Basis.EXPECTED].values()),
        finished=finished,
        remaining=total - finished,
        events=known.get("events", 0),
        oddities=known.get("oddities", 0),
        contradictions=known.get(CONTRADICTIONS, 0) - len(settled),
        uncounted=known.get(UNCOUNTED, 0),
        held=connection.execute(_HELD).scalar() or 0,
        undecided=known.get(UNCOUNTED, 0) - sum(row["uncounted"] for row in settled),
        numbers={name: connection.execute(query).scalar_one() for name, query in NUMBERS.items()},
        not_listed=_not_listed(connection),
        first_event=moment_of(known.get("first_event")),
        last_event=moment_of(known.get("last_event")),
    )
    return _with_pace(connection, summary, known.get("first_event"), now or present())


def _not_listed(connection: Connection) -> dict[str, int]:
    if connection.execute(select(func.min(expected.c.name_key))).scalar() is None:
        return {}
    return {row["station"]: row["machines"] for row in rows_of(connection, select(unlisted))}


def _with_pace(connection: Connection, summary: Summary, first: int | None, now: datetime) -> Summary:
    at = microseconds(now) / MICROSECONDS_A_MINUTE
    query = select(minutes).where(minutes.c.minute > int(at) - _LONGEST_WINDOW, minutes.c.minute <= int(at))
    lately = list(rows_of(connection, query))
    repaired: dict[int, int] = {row["minute"]: row["repaired"] for row in lately}
    finished: dict[int, int] = {row["minute"]: row["finished"] for row in lately}
    begin = first / MICROSECONDS_A_MINUTE if first is not None else min(finished, default=at)
    long = (count_in(finished, _LONGEST_WINDOW, at), window_minutes(_LONGEST_WINDOW, at, begin))
    short = (count_in(finished, _SHORT_WINDOW, at), window_minutes(_SHORT_WINDOW, at, begin))
    latest = select(func.max(minutes.c.minute)).where(minutes.c.finished > 0, minutes.c.minute <= int(at))
    last = connection.execute(latest).scalar()
    to_visit = summary.remaining - sum(summary.by_status.get(status, 0) for status in STUCK)
    return replace(
        summary,
        rates=rates(repaired, finished, at, begin),
        estimate=estimate(to_visit, *long, lately=short),
        last_finished=moment_of(None if last is None else last * MICROSECONDS_A_MINUTE),
        stalled=last is not None and is_stalled(finished, at, begin),
    )


def list_machines(
    connection: Connection,
    *,
    status: str | None,
    site: str | None,
    name: str | None,
    limit: int | None,
    offset: int,
) -> tuple[MachineRow, ...]:
    query: Select[tuple[object, ...]] = select(machines).where(machines.c.held.is_(None))
    query = query.order_by(machines.c.name_key, machines.c.key)
    if status is not None:
        query = query.where(machines.c.status == status)
    if site is not None:
        query = query.where(machines.c.site == site)
    if name is not None:
        called = machines_called(connection, name_key(name))
        query = query.where(
            or_(machines.c.key.in_([*called, NAMED + name_key(name)]), machines.c.name_key == name_key(name))
        )
    if limit is not None:
        query = query.limit(limit)
    if offset:
        query = query.offset(offset)
    return tuple(machine_row_of(row) for row in rows_of(connection, query))


def stream_machines(connection: Connection) -> Iterator[MachineLine]:
    """Every machine by name, in the order of an index: nothing is sorted, and few are in memory at a time."""
    table = machines.c
    query = select(table.name, table.site, table.status, table.reason).where(table.held.is_(None))
    query = query.order_by(table.name_key, table.key)
    rows = connection.execute(query, execution_options={"yield_per": _AT_ONCE})
    for name, site, status, reason in rows:
        yield MachineLine(name, site or None, status, reason or None)


def machine_with(connection: Connection, key: str) -> MachineRow | None:
    return next(map(machine_row_of, rows_where(connection, machines, machines.c.key, [key])), None)


def machine_row_of(row: Row) -> MachineRow:
    return MachineRow(
        key=row["key"],
        name=row["name"],
        status=row["status"],
        basis=Basis(row["basis"]),
        reason=row["reason"] or None,
        site=row["site"] or None,
        service=row["service"],
        priority=row["priority"],
        owner=row["owner"],
        serial=row["serial"],
        run=row["run"],
        station=row["station"],
        last_seen=moment_of(row["last_seen"]),
        marked_by=row["marked_by"],
        marked_at=moment_of(row["marked_at"]),
        held=row["held"],
    )


def rows_by_name(rows: Iterable[Row]) -> list[MachineRow]:
    return [machine_row_of(row) for row in sorted(rows, key=lambda row: (row["name_key"], row["key"]))]


def recent_events(connection: Connection, limit: int) -> tuple[RecentEvent, ...]:
    """The events that arrived last, the newest first; of those that arrived together, the last step first."""
    newest = select(events).order_by(events.c.received.desc(), events.c.id.desc()).limit(limit).subquery()
    query = (
        select(newest, machines.c.name, machines.c.site.label("machine_site"))
        .outerjoin(runs, and_(runs.c.run == newest.c.run, runs.c.station == newest.c.station))
        .outerjoin(machines, machines.c.key == runs.c.machine)
        .order_by(newest.c.received.desc(), newest.c.run.desc(), newest.c.sequence.desc())
    )
    return tuple(_recent(row) for row in rows_of(connection, query))


def _recent(row: Row) -> RecentEvent:
    event = parse_event(row["data"])
    mark = mark_of(event)
    received = moment_of(row["received"])
    assert received is not None
    return RecentEvent(
        id=row["id"].hex(),
        run=row["run"],
        sequence=row["sequence"],
        kind=event.kind,
        step=event.step,
        status=mark.status.value if mark else None,
        reason=(mark.reason or None) if mark else None,
        name=row["name"] or row["run"],
        site=row["machine_site"] or None,
        station=row["station"],
        received=received,
        at=row["at"],
    )
