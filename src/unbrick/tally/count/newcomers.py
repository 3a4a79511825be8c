"""How many unknown machines a station may add: so many a day, and few under one name.

More are kept and move no number until a person decides: a stick in wrong hands can invent machines as fast as
it can write. Whether a machine was known depends on when its run came: that is written down with the first
event of the run, so that all that is added up can be made anew.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update

from unbrick.tally.books.bulk import chunks, move_numbers, rows_of, rows_where
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import contradictions, events, machines, newcomers, runs
from unbrick.tally.count.bearing import Bears
from unbrick.tally.count.contradictions import write_contradictions
from unbrick.tally.count.counted_runs import (
    MICROSECONDS_A_DAY,
    Came,
    Kind,
    day_of,
    held_as,
    many_subject,
    namesakes_subject,
)
from unbrick.tally.count.decisions import Decisions
from unbrick.tally.count.identities import NO_IDENTITY
from unbrick.tally.count.runs import RunId, RunRecord, run_of

NEW_MACHINES_A_DAY = 1000
"""So many unknown machines of one station and day count, until a person decides."""

MOST_NAMESAKES = 4
"""So many machines of one name count of one station; with one more, only the first does."""

_EPOCH = date(1970, 1, 1).toordinal()
_BROUGHT = (Came.NEW, Came.BEYOND, Came.NAMESAKE)
_RUN_OF = Prepared(
    select(runs.c.run, runs.c.station).where(runs.c.machine == bindparam("the_machine")).limit(2)
)
_CAME = Prepared(
    update(runs)
    .where(runs.c.run == bindparam("the_run"), runs.c.station == bindparam("the_station"))
    .values(came=bindparam("the_came"), bears=Bears.RECENT.value)
)
_FIRST_CAME = Prepared(
    update(events).where(events.c.number == bindparam("the_first")).values(came=bindparam("the_came"))
)
_OF_NAMES = Prepared(
    select(runs.c.station, runs.c.first_name_key, runs.c.came, func.count().label("number"))
    .where(
        runs.c.station.in_(bindparam("stations", expanding=True)),
        runs.c.first_name_key.in_(bindparam("names", expanding=True)),
        runs.c.came.in_(bindparam("came", expanding=True)),
    )
    .group_by(runs.c.station, runs.c.first_name_key, runs.c.came)
)
_OF_NAME = (
    select(runs)
    .where(
        runs.c.station == bindparam("station"),
        runs.c.first_name_key == bindparam("name"),
        runs.c.came == Came.NEW.value,
    )
    .order_by(runs.c.first)
)

_HELD_OF_DAY = Prepared(
    select(newcomers.c.held).where(
        newcomers.c.station == bindparam("the_station"), newcomers.c.day == bindparam("the_day")
    )
)
_HELD_OF_NAME = Prepared(
    select(func.count().label("held")).where(
        runs.c.station == bindparam("the_station"),
        runs.c.first_name_key == bindparam("the_name"),
        runs.c.came == Came.NAMESAKE.value,
    )
)


def note_newcomers(
    connection: Connection,
    before: Mapping[RunId, RunRecord],
    after: Mapping[RunId, RunRecord],
    decided: Decisions,
    most: int,
) -> set[str]:
    """Judge what these runs bring, before their machines have rows; returns the keys of those held back."""
    judged = _judge_days(connection, before, after, most)
    _write(connection, judged, moved_by(after, judged))
    now = {**after, **judged}
    namesakes = _judge_names(connection, before, now)
    _write(connection, namesakes, {})
    now |= namesakes
    told = {held for one in (*before.values(), *now.values()) if (held := held_as(one))}
    note_held(connection, told, decided)
    return {one.machine for one in (*judged.values(), *namesakes.values()) if held_as(one)}


def _judge_days(
    connection: Connection, before: Mapping[RunId, RunRecord], after: Mapping[RunId, RunRecord], most: int
) -> dict[RunId, RunRecord]:
    """The runs that bring a machine which has no row yet, with what they `came` as."""
    fresh = [
        one
        for run, one in after.items()
        if not one.came
        and not one.machine.startswith(NO_IDENTITY)
        and (run not in before or before[run].machine != one.machine)
    ]
    if not fresh:
        return {}
    keys = {one.machine for one in fresh}
    known = {row["key"] for row in rows_where(connection, machines, machines.c.key, keys)}
    of_stations = rows_where(connection, newcomers, newcomers.c.station, {one.station for one in fresh})
    brought = Counter({(row["station"], row["day"]): row["machines"] for row in of_stations})
    judged, seen = {}, set()
    for one in sorted(fresh, key=lambda run: run.first):
        if one.machine in known:
            continue
        place = (one.station, day_of(one))
        if brought[place] < most:
            came = Came.NEW
            brought[place] += 1
            known.add(one.machine)
        else:
            again = one.machine in seen or _has_other_runs(connection, one)
            came = Came.BEYOND_AGAIN if again else Came.BEYOND
            seen.add(one.machine)
        judged[one.id] = replace(one, came=came.value, bears=Bears.RECENT.value)
    return judged


def _has_other_runs(connection: Connection, one: RunRecord) -> bool:
    found = _RUN_OF.named_rows(connection, {"the_machine": one.machine})
    return any((row["run"], row["station"]) != one.id for row in found)


def _judge_names(
    connection: Connection, before: Mapping[RunId, RunRecord], now: Mapping[RunId, RunRecord]
) -> dict[RunId, RunRecord]:
    """The runs that bring one machine too many of a name, and the earlier ones that now are too many."""
    named: dict[str, set[str]] = defaultdict(set)
    for run, one in now.items():
        old = before.get(run)
        is_as_before = old and (old.first_name_key, old.came) == (one.first_name_key, one.came)
        if one.came == Came.NEW and one.first_name_key and not is_as_before:
            named[one.station].add(one.first_name_key)
    judged = {}
    for station, names in named.items():
        for name in _too_many(connection, station, names):
            found = map(run_of, rows_of(connection, _OF_NAME, {"station": station, "name": name}))
            for one in list(found)[1:]:
                judged[one.id] = replace(one, came=Came.NAMESAKE.value, bears=Bears.RECENT.value)
    return judged


def _too_many(connection: Connection, station: str, names: Iterable[str]) -> list[str]:
    brought: Counter[str] = Counter()
    held = set()
    for chunk in chunks(sorted(names)):
        wanted = {"stations": [station], "names": chunk, "came": [Came.NEW.value, Came.NAMESAKE.value]}
        for row in rows_of(connection, _OF_NAMES, wanted):
            brought[row["first_name_key"]] += row["number"]
            if row["came"] == Came.NAMESAKE:
                held.add(row["first_name_key"])
    return [name for name, number in brought.items() if name in held or number > MOST_NAMESAKES]


def moved_by(
    before: Mapping[RunId, RunRecord], after: Mapping[RunId, RunRecord]
) -> dict[tuple[str, int], dict[str, int]]:
    """By how much the rows of table `newcomers` move where these runs change."""
    moved: dict[tuple[str, int], dict[str, int]] = defaultdict(lambda: {"machines": 0, "held": 0})
    for run, one in after.items():
        for record, by in ((before.get(run), -1), (one, 1)):
            if record is not None and record.came in _BROUGHT:
                numbers = moved[record.station, day_of(record)]
                held = record.came == Came.BEYOND
                numbers["held" if held else "machines"] += by
    return dict(moved)


def _write(
    connection: Connection,
    judged: Mapping[RunId, RunRecord],
    moved: Mapping[tuple[str, int], dict[str, int]],
) -> None:
    if not judged:
        return
    values = [
        {"the_run": one.run, "the_station": one.station, "the_came": one.came, "the_first": one.first}
        for one in judged.values()
    ]
    _CAME.run(connection, values)
    _FIRST_CAME.run(connection, values)
    move_numbers(connection, newcomers, moved)


def note_held(connection: Connection, wanted: Collection[tuple[Kind, str]], decided: Decisions) -> None:
    """Look up again how many machines each of these contradictions holds back."""
    if not wanted:
        return
    subjects = sorted({subject for _, subject in wanted})
    found = rows_where(connection, contradictions, contradictions.c.subject, subjects)
    before = [row for row in found if (row["kind"], row["subject"]) in wanted]
    numbers = {place: number_held(connection, *place) for place in wanted}
    write_contradictions(connection, before, rows_of_held(numbers, decided))


def rows_of_held(numbers: Mapping[tuple[Kind, str], int], decided: Decisions) -> list[dict[str, Any]]:
    return [
        {
            "kind": kind.value,
            "subject": subject,
            "machine": "",
            "uncounted": 0 if (kind, subject) in decided.counted else number,
        }
        for (kind, subject), number in numbers.items()
        if number and subject.partition("/")[0] not in decided.discounted
    ]


def number_held(connection: Connection, kind: Kind, subject: str) -> int:
    station, _, rest = subject.partition("/")
    if kind is Kind.MANY:
        found = _HELD_OF_DAY.named_rows(connection, {"the_station": station, "the_day": _day(rest)})
    else:
        found = _HELD_OF_NAME.named_rows(connection, {"the_station": station, "the_name": rest})
    return int(found[0]["held"]) if found else 0


def number_brought(connection: Connection, subject: str) -> int:
    """How many unknown machines count of the station and day that the subject names."""
    station, _, day = subject.partition("/")
    here = (newcomers.c.station == station, newcomers.c.day == _day(day))
    return connection.execute(select(newcomers.c.machines).where(*here)).scalar() or 0


def held_of_station(connection: Connection, station: str) -> set[tuple[Kind, str]]:
    """All contradictions by which machines of a station are or were held back."""
    days = select(newcomers.c.day).where(newcomers.c.station == station, newcomers.c.held > 0)
    names = select(runs.c.first_name_key).where(runs.c.station == station, runs.c.came == Came.NAMESAKE.value)
    found = {(Kind.MANY, many_subject(station, day)) for day in connection.execute(days).scalars()}
    return found | {
        (Kind.NAMESAKES, namesakes_subject(station, name))
        for name in connection.execute(names.distinct()).scalars()
    }


def runs_held(
    connection: Connection, kind: Kind, subject: str, most: int | None = None
) -> Sequence[RunRecord]:
    """The runs that a contradiction holds back."""
    station, _, rest = subject.partition("/")
    if kind is Kind.MANY:
        begin = _day(rest) * MICROSECONDS_A_DAY
        here = [
            runs.c.station == station,
            runs.c.came.in_((Came.BEYOND.value, Came.BEYOND_AGAIN.value)),
            runs.c.first_received.between(begin, begin + MICROSECONDS_A_DAY - 1),
        ]
    else:
        here = _namesakes(station, rest)
    query = select(runs).where(*here).order_by(runs.c.first).limit(most)
    return [run_of(row) for row in rows_of(connection, query)]


def _namesakes(station: str, name: str) -> list[Any]:
    return [
        runs.c.station == station,
        runs.c.first_name_key == name,
        runs.c.came == Came.NAMESAKE.value,
    ]


def _day(text: str) -> int:
    return date.fromisoformat(text).toordinal() - _EPOCH
