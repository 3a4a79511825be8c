"""Which machines count that nobody knew: so many of a station and day, and few under one name.

A machine that no person spoke of rests on the word of the stations that reported it, and a stick in wrong
hands can invent machines as fast as it can write. So a line of the inventory has one place, and each station
so many a day. A machine asks for that of its line; then the first run of each station and day asks for one,
in the order of arrival, until one of them has got it. A machine without a place is kept, shown and moves no
number until a person decides.

All of it follows from the runs as they are now, in whatever order they came to be so: where one asker comes
or goes, the last one with a place may lose it, or the first without may get it, and so on. Whatever else
changes then is in `Newcomers.again`.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from sqlalchemy import Connection, bindparam, select, update

from unbrick.settings.strict import parse_json
from unbrick.tally.books.bulk import delete_rows, insert_rows, rows_where, update_rows
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import brought, namesakes, newcomers
from unbrick.tally.count.counted_runs import Judged, Kind, day_of, many_subject, namesakes_subject
from unbrick.tally.count.decisions import APART, Decisions
from unbrick.tally.count.runs import RunRecord

NEW_MACHINES_A_DAY = 1000
"""So many machines that nobody knew count of one station and day, before a person decides."""

MOST_NAMESAKES = 4
"""So many machines of one name count of one station; with one more, only the first does."""

MOST_ASKING, MOST_OF_STATION = 8, 2
"""So many runs of one machine ask for a place, and so many of one station: the first ones. A stick that
takes no place for a machine leaves it to the others.
"""

Row = dict[str, Any]
_LINE = APART
_LAST_WITH_PLACE = Prepared(
    select(brought)
    .where(brought.c.place == bindparam("the_place"), brought.c.state == bindparam("the_state"))
    .order_by(brought.c.first.desc(), brought.c.machine.desc())
    .limit(1)
)
_FIRST_WITHOUT = Prepared(
    select(brought)
    .where(brought.c.place == bindparam("the_place"), brought.c.state == bindparam("the_state"))
    .order_by(brought.c.first, brought.c.machine)
    .limit(1)
)
_FIRST_NAMESAKES = Prepared(
    select(namesakes)
    .where(namesakes.c.place == bindparam("the_place"))
    .order_by(namesakes.c.first, namesakes.c.machine)
    .limit(MOST_NAMESAKES + 1)
)
_STATE = Prepared(
    update(brought)
    .where(brought.c.machine == bindparam("the_machine"), brought.c.place == bindparam("the_place"))
    .values(state=bindparam("the_state"))
)


class State(IntEnum):
    """Whether an asker has a place: it needs none, has one, came when all were taken, or is one too many of
    its name.
    """

    IDLE = 0
    PLACED = 1
    BEYOND = 2
    NAMESAKE = 3


def asking(judged: Judged) -> list[Row]:
    """What asks for a place, of a machine that no person spoke of, as rows of table `brought`."""
    of_line = []
    if judged.line:
        first = min(run.first for run in judged.counted)
        place = _LINE + judged.line["name_key"]
        row = {"machine": judged.key, "first": first, "place": place, "names": "[]"}
        of_line = [{**row, "state": State.IDLE.value}]
    return of_line + [
        {
            "machine": judged.key,
            "first": run.first,
            "place": place_of(run),
            "names": json.dumps(sorted(run.name_keys), ensure_ascii=False),
            "state": State.IDLE.value,
        }
        for run in first_asking(judged.counted)
    ]


def first_asking(runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Those of some runs that ask for a place: the first of a station and day."""
    found: dict[tuple[str, int], RunRecord] = {}
    of_station: Counter[str] = Counter()
    for run in sorted(runs, key=lambda one: one.first):
        place = (run.station, day_of(run))
        if len(found) < MOST_ASKING and place not in found and of_station[run.station] < MOST_OF_STATION:
            found[place] = run
            of_station[run.station] += 1
    return list(found.values())


def is_of_line(row: Mapping[str, Any]) -> bool:
    """Whether a row of `brought` asks for the place of a line of the inventory."""
    return bool(row["place"].startswith(_LINE))


def in_turn(row: Mapping[str, Any]) -> tuple[int, bool]:
    """By this, rows of `brought` ask in their order."""
    return (row["first"], not is_of_line(row))


def place_of(run: RunRecord) -> str:
    """The station and the day of a run."""
    return many_subject(run.station, day_of(run))


def name_places(row: Mapping[str, Any]) -> list[str]:
    """The station with each of the names, of a row of `brought`."""
    station = row["place"].partition("/")[0]
    return [namesakes_subject(station, name) for name in parse_json(row["names"])]


def too_many_under(
    row: Mapping[str, Any], first_of: Mapping[str, Sequence[Mapping[str, Any]]], decided: Decisions
) -> str | None:
    """The first of its names that too many have, as `name_places` has it, unless a person let it count."""
    for place in name_places(row):
        those = first_of[place]
        is_beyond = len(those) > MOST_NAMESAKES and those[0]["machine"] != row["machine"]
        if is_beyond and not decided.counts(Kind.NAMESAKES, place, row["first"]):
            return place
    return None


def has_place(row: Mapping[str, Any], decided: Decisions) -> bool:
    """Whether a row of `brought` makes its machine count."""
    if row["state"] == State.BEYOND and not is_of_line(row):
        return decided.counts(Kind.MANY, row["place"], row["first"])
    return bool(row["state"] == State.PLACED)


def held_as(row: Mapping[str, Any], too_many: str | None, decided: Decisions) -> str:
    """The contradiction by which a machine is held whose first asker has this row, as `machines.held`."""
    kind, place = (Kind.MANY, row["place"]) if too_many is None else (Kind.NAMESAKES, too_many)
    return f"{kind.value}:{decided.subject_at(kind, place, row['first'])}"


def _id(row: Row) -> tuple[str, int, str]:
    """What tells a row of `brought`, and when it asks, from others."""
    return (row["machine"], row["first"], row["place"])


@dataclass
class _Day:
    """How many places a station has on a day, or a line; how many are taken, and the last one, if known."""

    place: str
    most: int
    placed: int
    last: int | None = None


class Newcomers:
    """Gives out the places, in the caller's transaction.

    `again` are machines (by key) whose rows are to be made anew because others took or left a place.
    """

    def __init__(self, connection: Connection, decided: Decisions) -> None:
        self._connection = connection
        self._decided = decided
        self.again: set[str] = set()
        self._rows: dict[str, list[Row]] = {}
        self._days: dict[str, _Day] = {}
        self._namesakes: dict[str, list[Row]] = {}
        self._states: dict[tuple[str, int, str], Row] = {}
        self._pending: set[str] = set()

    def open_days(self, records: Iterable[RunRecord]) -> None:
        """Note how many places the stations of these new runs have on their days: the most that was said."""
        wanted: dict[str, int] = {}
        for one in records:
            place = place_of(one)
            wanted[place] = max(wanted.get(place, 0), one.most)
        known = self._load_days(wanted)
        added = [{"place": place, "most": most, "placed": 0} for place, most in wanted.items()]
        insert_rows(self._connection, newcomers, [row for row in added if row["place"] not in known])
        for place in known:
            day = self._days[place]
            if day.most < wanted[place]:
                day.most = wanted[place]
                self._fill(day)
        self._settle()
        self._end()

    def look_again(self, machines: Collection[str]) -> None:
        """Judge machines (by key) again after a person decided on what holds them."""
        self._load(machines)
        self._pending |= set(machines)
        self._settle()
        self.again |= set(machines)
        self._end()

    def judge(self, keys: Sequence[str], askers: Mapping[str, Sequence[Row]]) -> dict[str, str]:
        """Take what asks for machines (by key); returns by what those are held that have no place."""
        self._load(keys)
        before = {_id(row): row for key in keys for row in self._rows[key]}
        after = {_id(row): row for key in keys for row in askers.get(key, ())}
        if not before and not after:
            return {}
        gone = [row for id_, row in before.items() if id_ not in after]
        added = [row for id_, row in after.items() if id_ not in before]
        renamed = [
            row for id_, row in after.items() if id_ in before and before[id_]["names"] != row["names"]
        ]
        if gone or added or renamed:
            self._load_days({row["place"] for row in (*gone, *added)})
            self._replace_names([*gone, *(before[_id(row)] for row in renamed)], [*added, *renamed])
            self._replace(keys, gone, added, renamed)
            self._pending |= {row["machine"] for row in (*gone, *added, *renamed)}
            self._settle()
        held = {key: reason for key in keys if (reason := self._held(key)) is not None}
        self.again -= set(keys)
        self._end()
        return held

    def _held(self, key: str) -> str | None:
        rows = self._rows[key]
        if not rows or any(has_place(row, self._decided) for row in rows):
            return None
        first = next(row for row in rows if not is_of_line(row))
        too_many = self._too_many(first) if first["state"] == State.NAMESAKE else None
        return held_as(first, too_many, self._decided)

    def _load(self, machines: Iterable[str]) -> None:
        unknown = [key for key in machines if key not in self._rows]
        found: dict[str, list[Row]] = defaultdict(list)
        for row in rows_where(self._connection, brought, brought.c.machine, unknown):
            found[row["machine"]].append(row)
        for key in unknown:
            self._rows[key] = sorted(found[key], key=in_turn)

    def _load_days(self, places: Iterable[str]) -> set[str]:
        """Returns those that there are."""
        unknown = sorted(set(places) - self._days.keys())
        found = rows_where(self._connection, newcomers, newcomers.c.place, unknown)
        self._days |= {row["place"]: _Day(row["place"], row["most"], row["placed"]) for row in found}
        for place in unknown:
            if place.startswith(_LINE):
                self._write()
                asked = {"the_place": place, "the_state": State.PLACED.value}
                taken = _LAST_WITH_PLACE.named_rows(self._connection, asked)
                self._days[place] = _Day(place, 1, len(taken))
        return self._days.keys() & set(places)

    def _replace(
        self, keys: Sequence[str], gone: Sequence[Row], added: Sequence[Row], renamed: Sequence[Row]
    ) -> None:
        for row in gone:
            self._rows[row["machine"]].remove(row)
        delete_rows(self._connection, brought, gone)
        for row in added:
            self._rows[row["machine"]].append(row)
        insert_rows(self._connection, brought, added)
        for row in renamed:
            (kept,) = [one for one in self._rows[row["machine"]] if _id(one) == _id(row)]
            kept["names"] = row["names"]
            update_rows(self._connection, brought, [kept])
        for key in keys:
            self._rows[key].sort(key=in_turn)
        for row in gone:
            if row["state"] == State.PLACED:
                self._leave(self._days[row["place"]])

    def _replace_names(self, gone: Sequence[Row], added: Sequence[Row]) -> None:
        was, now = (
            {(place, row["first"], row["machine"]) for row in rows for place in name_places(row)}
            for rows in (gone, added)
        )
        changed = {place for place, *_ in was ^ now}
        before = {place: self._first_of(place) for place in changed}
        for rows, write in ((was - now, delete_rows), (now - was, insert_rows)):
            named = [{"place": place, "first": first, "machine": machine} for place, first, machine in rows]
            write(self._connection, namesakes, named)
        for place, old in before.items():
            del self._namesakes[place]
            new = self._first_of(place)
            if max(len(old), len(new)) > MOST_NAMESAKES:
                self._pending |= {row["machine"] for row in (*old, *new)}

    def _first_of(self, place: str) -> list[Row]:
        if place not in self._namesakes:
            self._namesakes[place] = _FIRST_NAMESAKES.named_rows(self._connection, {"the_place": place})
        return self._namesakes[place]

    def _too_many(self, row: Row) -> str | None:
        first_of = {place: self._first_of(place) for place in name_places(row)}
        return too_many_under(row, first_of, self._decided)

    def _settle(self) -> None:
        """Judge what is pending until nothing changes: each step only ever concerns later askers."""
        while self._pending:
            machines, self._pending = self._pending, set()
            self.again |= machines
            self._load(machines)
            self._load_days({row["place"] for key in machines for row in self._rows[key]})
            rows = [self._rows[key] for key in machines if self._rows[key]]
            for of_machine in sorted(rows, key=lambda those: int(those[0]["first"])):
                self._judge_one(of_machine)

    def _judge_one(self, rows: Sequence[Row]) -> None:
        is_placed = False
        for row in rows:
            if is_placed:
                self._become(row, State.IDLE)
            elif self._too_many(row) is not None:
                self._become(row, State.NAMESAKE)
            elif row["state"] in (State.IDLE, State.NAMESAKE):
                self._ask(row)
            is_placed = is_placed or has_place(row, self._decided)

    def _ask(self, row: Row) -> None:
        day = self._days[row["place"]]
        if day.placed >= day.most:
            if day.last is None:
                last = self._one(_LAST_WITH_PLACE, day, State.PLACED)
                day.last = last["first"] if last else 0
            if row["first"] > day.last:
                self._become(row, State.BEYOND)
                return
            last = self._one(_LAST_WITH_PLACE, day, State.PLACED)
            assert last is not None  # the asker came before it
            self._write_state(last, State.BEYOND)
            day.placed, day.last = day.placed - 1, None
            self._pending.add(last["machine"])
        self._become(row, State.PLACED)

    def _become(self, row: Row, state: State) -> None:
        before = row["state"]
        if before == state:
            return
        self._write_state(row, state)
        day = self._days[row["place"]]
        if state is State.PLACED:
            day.placed += 1
            day.last = None if day.last is None else max(day.last, row["first"])
        elif before == State.PLACED:
            self._leave(day)

    def _leave(self, day: _Day) -> None:
        day.placed -= 1
        day.last = None
        self._fill(day)

    def _fill(self, day: _Day) -> None:
        while day.placed < day.most and (row := self._one(_FIRST_WITHOUT, day, State.BEYOND)):
            self._write_state(row, State.PLACED)
            day.placed, day.last = day.placed + 1, None
            self._pending.add(row["machine"])

    def _write_state(self, row: Row, state: State) -> None:
        row["state"] = state.value
        self._states[_id(row)] = row

    def _one(self, query: Prepared, day: _Day, state: State) -> Row | None:
        """The row that a query finds among those of a day in a state, as it is known here."""
        self._write()
        found = query.named_rows(self._connection, {"the_place": day.place, "the_state": state.value})
        if not found:
            return None
        self._load([found[0]["machine"]])
        return next(one for one in self._rows[found[0]["machine"]] if _id(one) == _id(found[0]))

    def _write(self) -> None:
        if self._states:
            values = [
                {"the_machine": row["machine"], "the_place": row["place"], "the_state": row["state"]}
                for row in self._states.values()
            ]
            _STATE.run(self._connection, values)
            self._states.clear()

    def _end(self) -> None:
        """Write all down and forget it: others write between two calls."""
        self._write()
        days = [
            {"place": one.place, "most": one.most, "placed": one.placed}
            for one in self._days.values()
            if not one.place.startswith(_LINE)
        ]
        update_rows(self._connection, newcomers, days)
        for known in (self._rows, self._days, self._namesakes):
            known.clear()
