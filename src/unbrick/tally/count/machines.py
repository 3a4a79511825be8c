"""Keeps the rows of machines and the counters true, in the caller's transaction.

`refresh` makes the rows of some machines and names anew from the tables below them, and moves the counters by
the difference. Whoever changed those tables says which rows that touches.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Generic, TypeVar

from sqlalchemy import Connection, bindparam, func, select, update

from unbrick.events.standing import MachineStatus
from unbrick.tally.books.bulk import (
    chunks,
    delete_rows,
    insert_rows,
    move_numbers,
    rows_for,
    rows_where,
    update_rows,
)
from unbrick.tally.books.clock import MICROSECONDS_A_MINUTE
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import (
    counters,
    expected,
    machine_names,
    machines,
    minutes,
    runs,
    statements,
    unlisted,
)
from unbrick.tally.count.bearing import RECENT, Bears, is_due, thin
from unbrick.tally.count.contradictions import move_held, note_machines, note_shared
from unbrick.tally.count.counted_runs import Judged, judge
from unbrick.tally.count.decisions import Decisions, read_decisions
from unbrick.tally.count.identities import NO_IDENTITY
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.newcomers import Newcomers, asking
from unbrick.tally.count.rows import (
    Row,
    gather,
    is_known,
    machine_row,
    named_row,
    said_of,
    said_of_unseen,
    said_on,
    spoken_row,
    statement_on,
    word_left,
    words_kept_under,
)
from unbrick.tally.count.runs import RunRecord, run_of
from unbrick.tally.records import NAMED

Answer = TypeVar("Answer")
_MOST_ASKED = 5000
_BEARING = Prepared(
    select(runs).where(
        runs.c.machine.in_(bindparam("wanted", expanding=True)), runs.c.bears > Bears.NOT.value
    )
)
_SHOWED_SERIALS = Prepared(
    select(runs.c.machine).where(runs.c.serial_key.in_(bindparam("wanted", expanding=True))).distinct()
)
_BEARS = Prepared(
    update(runs)
    .where(runs.c.run == bindparam("the_run"), runs.c.station == bindparam("the_station"))
    .values(bears=bindparam("the_bears"))
)
_UNDER = statements.c.name_key.in_(bindparam("wanted", expanding=True))
_STATEMENTS = select(statements, runs.c.machine).outerjoin(runs, runs.c.first == statements.c.machine_first)
_ALL_WORDS = Prepared(_STATEMENTS.where(_UNDER).order_by(statements.c.number))
_LAST_WORDS = Prepared(
    _STATEMENTS.where(
        statements.c.number.in_(
            select(func.max(statements.c.number))
            .where(_UNDER, statements.c.taken_back_at.is_(None))
            .group_by(statements.c.name_key, statements.c.machine_first)
        )
    )
)
_SEEN_NAMES = Prepared(
    select(machine_names.c.name_key)
    .join(machines, machines.c.key == machine_names.c.key)
    .where(machine_names.c.name_key.in_(bindparam("wanted", expanding=True)))
    .distinct()
)
_FIRST_OF_NAMES = Prepared(
    select(machine_names.c.name_key, func.min(machines.c.first).label("first"))
    .join(machines, machines.c.key == machine_names.c.key)
    .where(machine_names.c.name_key.in_(bindparam("wanted", expanding=True)))
    .group_by(machine_names.c.name_key)
)


def refresh(
    connection: Connection,
    keys: Iterable[str],
    names: Iterable[str],
    *,
    only_added: Collection[str] = (),
    decided: Decisions | None = None,
) -> None:
    """Make the rows of these machines (by key) and of these names (upper case) what they should be.

    `only_added` are machines that lost nothing: the runs that bear say all of them. `decided` are the
    decisions in force, where the caller has them.
    """
    decided = decided or read_decisions(connection)
    change = _Change(connection, Newcomers(connection, decided))
    concerned = set(names)
    moved: set[str] = set()
    for chunk in chunks(keys):
        concerned |= _refresh_machines(connection, chunk, change, moved, only_added, decided)
    # A statement on a name that no machine had is about the first one to have it, which is known only now.
    for chunk in chunks(name for name, said in change.spoken.of(moved).items() if said_of_unseen(said)):
        called = rows_where(connection, machine_names, machine_names.c.name_key, chunk)
        for again in chunks({row["key"] for row in called}):
            _refresh_machines(connection, again, change, set(), again, decided)
    while asked_again := change.newcomers.again:
        change.newcomers.again = set()
        for chunk in chunks(asked_again):
            concerned |= _refresh_machines(connection, chunk, change, set(), asked_again, decided)
    for chunk in chunks(concerned):
        _refresh_names(connection, chunk, change)
    change.count(connection)


class _Asked(Generic[Answer]):
    """Answers by name that stay the same throughout a change: each of a few is asked for once."""

    def __init__(self, ask: Callable[[set[str]], Mapping[str, Answer]]) -> None:
        self._ask = ask
        self._known: dict[str, Answer | None] = {}

    def of(self, names: Iterable[str]) -> dict[str, Answer]:
        wanted = set(names)
        if len(self._known) > _MOST_ASKED:
            self._known.clear()
        unknown = wanted - self._known.keys()
        fresh = self._ask(unknown) if unknown else {}
        known = ((name, self._known[name]) for name in wanted - unknown)
        found = {**fresh, **{name: answer for name, answer in known if answer is not None}}
        if len(wanted) <= _MOST_ASKED:
            self._known |= {name: fresh.get(name) for name in unknown}
        return found


@dataclass
class _Change:
    """What is asked once, and by how much the counters are to be moved in the end."""

    connection: Connection
    newcomers: Newcomers
    counted: Counter[tuple[str, str, str, str]] = field(default_factory=Counter)
    finished: Counter[int] = field(default_factory=Counter)
    repaired: Counter[int] = field(default_factory=Counter)
    unlisted: Counter[str] = field(default_factory=Counter)
    held: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.spoken = _Asked(partial(_words_under, self.connection))
        """The last statements under each name."""
        self.lines = _Asked(partial(_lines_of, self.connection))
        """The inventory's line of each name."""

    def write(self, connection: Connection, before: Mapping[str, Row], after: Mapping[str, Row]) -> None:
        """Write the rows that differ, and note by how much the counters move."""
        gone = [row for key, row in before.items() if key not in after]
        added = [row for key, row in after.items() if key not in before]
        changed = [row for key, row in after.items() if key in before and before[key] != row]
        delete_rows(connection, machines, gone)
        insert_rows(connection, machines, added)
        update_rows(connection, machines, changed)
        for row in (*added, *changed):
            self._note(row, 1)
        for row in (*gone, *(before[row["key"]] for row in changed)):
            self._note(row, -1)

    def _note(self, row: Row, by: int) -> None:
        for counter, place in counted_places(row):
            getattr(self, counter)[place] += by

    def count(self, connection: Connection) -> None:
        counted = {place: {"machines": by} for place, by in self.counted.items()}
        move_numbers(connection, counters, counted)
        moved = {
            (minute,): {"repaired": self.repaired[minute], "finished": self.finished[minute]}
            for minute in self.finished.keys() | self.repaired.keys()
        }
        move_numbers(connection, minutes, moved)
        move_held(connection, self.held)
        of_no_list = {(station,): {"machines": by} for station, by in self.unlisted.items()}
        move_numbers(connection, unlisted, of_no_list)


def counted_places(row: Row) -> list[tuple[str, Any]]:
    """Where a row counts: the counter, and the place in it."""
    if row["held"]:
        return [("held", row["held"])]
    places: list[tuple[str, Any]] = [("counted", (row["status"], row["site"], row["reason"], row["basis"]))]
    if row["finished_at"] is not None:
        minute = row["finished_at"] // MICROSECONDS_A_MINUTE
        places.append(("finished", minute))
        if row["status"] in {MachineStatus.REPAIRED, MachineStatus.CONFIRMED}:
            places.append(("repaired", minute))
    if row["first"] is not None and row["line"] is None:
        places.append(("unlisted", row["station"] or ""))
    return places


def _refresh_machines(
    connection: Connection,
    keys: Sequence[str],
    change: _Change,
    moved: set[str],
    only_added: Collection[str],
    decided: Decisions,
) -> set[str]:
    """Returns the names whose own rows this may touch; adds to `moved` the names that changed machines."""
    before = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    runs_of = _runs_of(connection, keys, only_added)
    judged = _judge(change, runs_of, decided)
    gathered = [gather(one) for one in judged if one.counted]
    kept_under = {name for one in judged for name in words_kept_under(one.firsts)}
    spoken = change.spoken.of(kept_under.union(*(one.spoken_under for one in gathered)))
    meant = {one["machine_first"] for said in spoken.values() for one in said}
    _thin(connection, judged, runs_of, meant, only_added)
    first = _first_of(connection, {name for name, said in spoken.items() if said_of_unseen(said)})
    said = {one.key: statement_on(one, said_of(one, spoken), first) for one in gathered}
    unknown = {one.key for one in gathered if not is_known(said[one.key], one)}
    askers = {one.key: asking(one) for one in judged if one.key in unknown}
    held = change.newcomers.judge(keys, askers)
    after = {one.key: {**machine_row(one, said[one.key]), "held": held.get(one.key)} for one in gathered}
    names = {(name, one.key) for one in judged for name in one.name_keys}
    words = {one.key: word for one in judged if (word := word_left(one, spoken))}
    names |= {(name_key(word["name"]), key) for key, word in words.items()}
    after |= _rows_of_words(change, judged, words)
    concerned = _replace_names(connection, keys, names, change, before, after)
    rows = ((before.get(key), after.get(key)) for key in keys)
    changed = {key for key, (old, new) in zip(keys, rows, strict=True) if _place(old) != _place(new)}
    concerned |= {name for one in judged if one.key in changed for name in one.name_keys}
    moved |= concerned
    note_machines(connection, keys, judged)
    serials = {serial for serial, _ in _serials(before) ^ _serials(after) if serial}
    note_shared(connection, concerned, serials)
    return concerned | {row["line"] for row in (*before.values(), *after.values()) if row["line"]}


def _rows_of_words(
    change: _Change, judged: Iterable[Judged], words: Mapping[str, Row]
) -> dict[str, dict[str, Any]]:
    lines = change.lines.of(name_key(word["name"]) for word in words.values())
    said = [(one, words[one.key]) for one in judged if one.key in words]
    return {one.key: spoken_row(one, word, lines.get(name_key(word["name"]))) for one, word in said}


def _serials(rows: Mapping[str, Row]) -> set[tuple[str | None, str]]:
    return {(row["serial_key"], key) for key, row in rows.items() if not row["held"]}


def _place(row: Row | None) -> tuple[Any, ...] | None:
    """What of a machine decides whose a name is."""
    return (row["first"], row["held"] is None) if row else None


def _runs_of(
    connection: Connection, keys: Sequence[str], bearing: Collection[str]
) -> dict[str, list[RunRecord]]:
    """The runs of these machines, of those `bearing` only the runs that bear; none without identity."""
    found: dict[str, list[RunRecord]] = defaultdict(list)
    rows = rows_where(connection, runs, runs.c.machine, [key for key in keys if key not in bearing])
    rows += rows_for(connection, _BEARING, (key for key in keys if key in bearing))
    for row in rows:
        if not row["machine"].startswith(NO_IDENTITY):
            found[row["machine"]].append(run_of(row))
    return found


def _thin(
    connection: Connection,
    judged: Iterable[Judged],
    runs_of: Mapping[str, Sequence[RunRecord]],
    meant: AbstractSet[int | None],
    only_added: Collection[str],
) -> None:
    """Note which runs bear, of machines with many that were not compared or that were read as a whole."""
    changed = []
    for one in judged:
        of_machine = runs_of[one.key]
        is_whole = one.key not in only_added and len(of_machine) > RECENT
        if is_whole or is_due(of_machine) or any(run.bears == Bears.NOT for run in of_machine):
            found = thin(one, of_machine, meant)
            changed += [
                {"the_run": run.run, "the_station": run.station, "the_bears": found[run.id].value}
                for run in of_machine
                if run.bears != found[run.id]
            ]
    if changed:
        _BEARS.run(connection, changed)


def _judge(change: _Change, runs_of: Mapping[str, Sequence[RunRecord]], decided: Decisions) -> list[Judged]:
    found = [one for of_machine in runs_of.values() for one in of_machine]
    by_name = change.lines.of(name for one in found for name in one.name_keys)
    by_serial: dict[str, Row] = {}
    serials = sorted({serial_key(one.serial) for one in found if one.serial})
    for row in rows_where(change.connection, expected, expected.c.serial_key, serials):
        first = by_serial.setdefault(row["serial_key"], row)
        if row["name_key"] < first["name_key"]:
            by_serial[row["serial_key"]] = row
    return [judge(key, of_machine, by_name, by_serial, decided) for key, of_machine in runs_of.items()]


def _replace_names(
    connection: Connection,
    keys: Sequence[str],
    now: AbstractSet[tuple[str, str]],
    change: _Change,
    before: Mapping[str, Row],
    after: Mapping[str, Row],
) -> set[str]:
    """Write the rows of machines, and the names that they are found by; returns the names that changed."""
    was = {
        (row["name_key"], row["key"])
        for row in rows_where(connection, machine_names, machine_names.c.key, keys)
    }
    change.write(connection, before, after)
    delete_rows(connection, machine_names, [{"name_key": name, "key": key} for name, key in was - now])
    insert_rows(connection, machine_names, [{"name_key": name, "key": key} for name, key in now - was])
    return {name for name, _ in was ^ now}


def _refresh_names(connection: Connection, names: Sequence[str], change: _Change) -> None:
    """The rows of names that no machine has reported: there while the list or a statement has the name."""
    keys = [NAMED + name for name in names]
    before = {row["key"]: row for row in rows_where(connection, machines, machines.c.key, keys)}
    lines = change.lines.of(names)
    spoken = change.spoken.of(names)
    settled = {row["line"] for row in rows_where(connection, machines, machines.c.line, names)}
    seen = {row["name_key"] for row in rows_for(connection, _SEEN_NAMES, names)}
    after = {}
    for name in names:
        expectation = lines.get(name)
        if name in settled or (expectation is None and name in seen):
            continue
        row = named_row(name, expectation, said_of_unseen(spoken.get(name, ())))
        if row is not None:
            after[row["key"]] = row
    change.write(connection, before, after)


def _lines_of(connection: Connection, names: Iterable[str]) -> dict[str, Row]:
    rows = rows_where(connection, expected, expected.c.name_key, sorted(names))
    return {row["name_key"]: row for row in rows}


def _words_under(
    connection: Connection, names: Iterable[str], query: Prepared = _LAST_WORDS
) -> dict[str, list[Row]]:
    """The last statements under each name: on each machine that was meant, and on one not seen by then."""
    found: dict[str, list[Row]] = defaultdict(list)
    for row in rows_for(connection, query, names):
        found[row["name_key"]].append(row)
    return found


def statements_about(connection: Connection, key: str) -> list[Row]:
    """All statements on the machine with this key in their order, also those taken back."""
    if key.startswith(NAMED):
        name = key.removeprefix(NAMED)
        said = _words_under(connection, [name], _ALL_WORDS)[name]
        return [one for one in said if one["machine_first"] is None]
    decided = read_decisions(connection)
    change = _Change(connection, Newcomers(connection, decided))
    judged = _judge(change, _runs_of(connection, [key], [key]), decided)
    if not judged or not judged[0].counted:
        kept_under = words_kept_under(judged[0].firsts) if judged else ()
        found = _words_under(connection, kept_under, _ALL_WORDS).values()
        about = [one for said in found for one in said if one["machine"] == key]
        return sorted(about, key=lambda one: int(one["number"]))
    machine = gather(judged[0])
    firsts = connection.execute(select(runs.c.first).where(runs.c.machine == key)).scalars()
    kept_under = machine.spoken_under | words_kept_under(firsts)
    spoken = [one for said in _words_under(connection, kept_under, _ALL_WORDS).values() for one in said]
    first = _first_of(connection, machine.name_keys)
    return sorted(said_on(machine, spoken, first), key=lambda one: int(one["number"]))


def runs_counted(connection: Connection, key: str) -> Sequence[RunRecord]:
    """All runs that count for the machine with this key; where none does, those of discounted stations."""
    decided = read_decisions(connection)
    change = _Change(connection, Newcomers(connection, decided))
    judged = _judge(change, _runs_of(connection, [key], ()), decided)
    return [run for one in judged for run in one.counted or one.discounted]


def _first_of(connection: Connection, names: Iterable[str]) -> dict[str, int]:
    """By name, the number of the first event of any machine with it."""
    return {row["name_key"]: row["first"] for row in rows_for(connection, _FIRST_OF_NAMES, names)}


def machines_called(connection: Connection, name: str) -> list[str]:
    """The keys of the machines that reported a name, or that settle the inventory's line of it."""
    named = rows_where(connection, machine_names, machine_names.c.name_key, [name])
    rows = rows_where(connection, machines, machines.c.key, {row["key"] for row in named})
    rows += rows_where(connection, machines, machines.c.line, [name])
    return sorted({row["key"] for row in rows})


def machines_with_serials(connection: Connection, serials: Iterable[str]) -> set[str]:
    """The keys of the machines that ever showed one of these serial numbers, also before a repair."""
    return {row["machine"] for row in rows_for(connection, _SHOWED_SERIALS, serials)}
