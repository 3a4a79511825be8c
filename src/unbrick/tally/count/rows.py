"""How a machine's row comes about: from its runs, the inventory's line and what a person said. Pure.

The same functions serve the counting and the recount that checks it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from unbrick.events.standing import MachineStatus, Mark, Standing
from unbrick.tally.books.schema import machines
from unbrick.tally.count.counted_runs import Judged, standing_of_runs
from unbrick.tally.count.decisions import APART
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.count.runs import RunRecord, merge_names
from unbrick.tally.records import FINISHED, NAMED, WORKED, Basis, Statement

Row = Mapping[str, Any]
_COLUMNS = tuple(machines.columns.keys())


@dataclass(frozen=True)
class Runs:
    """What the runs of one machine say together.

    By number of arrival: `first` is its first event, `looked` the last one that reports a look inside,
    `troubled` the last such look that found something; `firsts` are the first events of all its runs. `line`
    is the inventory's that it settles, `others` are those (by name) that it claims besides.
    """

    key: str
    names: tuple[str, ...]
    serial: str | None
    disk_guid: str | None
    site: str | None
    last_seen: int
    first: int
    standing: Standing
    latest: RunRecord
    looked: int
    troubled: int
    line: Row | None
    others: frozenset[str]
    firsts: frozenset[int]

    @property
    def name_keys(self) -> frozenset[str]:
        return frozenset(map(name_key, self.names))

    @property
    def spoken_under(self) -> frozenset[str]:
        """The keys of the statements that may be about it."""
        line = {self.line["name_key"]} if self.line else set()
        return self.name_keys | line | words_kept_under(self.firsts)

    @property
    def serial_key(self) -> str | None:
        return serial_key(self.serial) if self.serial else None


def gather(judged: Judged) -> Runs:
    """Fold the runs of one machine that count (at least one)."""
    runs = judged.counted
    in_order = sorted(runs, key=lambda one: (one.place, one.id))
    marks = [mark for one in runs for mark in one.marks]
    return Runs(
        key=judged.key,
        names=merge_names(*(one.names for one in runs)),
        serial=_last(one.serial for one in in_order),
        disk_guid=_last(one.disk_guid for one in in_order),
        site=_last(one.site for one in in_order),
        last_seen=max(one.last_seen for one in runs),
        first=min(one.first for one in runs),
        standing=standing_of_runs(runs),
        latest=in_order[-1],
        looked=max((mark.number for mark in marks if mark.looked_inside), default=0),
        troubled=max((mark.number for mark in marks if mark.found_trouble), default=0),
        line=judged.line,
        others=judged.others,
        firsts=judged.firsts,
    )


def words_kept_under(firsts: Iterable[int]) -> frozenset[str]:
    """The keys of statements on a machine that had reported: the first event of one of its runs, which stays
    while names change. No name is written so.
    """
    return frozenset(f"{APART}{first}" for first in firsts)


def statement_on(machine: Runs, said: Iterable[Row], first: Mapping[str, int]) -> Row | None:
    """The last statement on a machine; see `said_on`."""
    return max(said_on(machine, said, first), key=lambda one: int(one["number"]), default=None)


def said_on(machine: Runs, said: Iterable[Row], first: Mapping[str, int]) -> list[Row]:
    """The statements on a machine, of those `said` under its keys: rows of `statements` with the key of the
    `machine` that was meant.

    A statement is about the machine that had the name when it was made; where none had reported yet, about
    the first to come. `first` has the number of the first event of any machine, by name.
    """
    by_line = machine.line["name_key"] if machine.line else None

    def concerns(one: Row) -> bool:
        if one["machine_first"] is not None:
            return bool(one["machine"] == machine.key)
        if one["name_key"] in machine.others:
            return False
        if one["name_key"] in machine.name_keys:
            return first.get(one["name_key"], machine.first) >= machine.first
        return bool(one["name_key"] == by_line)

    return [one for one in said if concerns(one)]


def said_of(machine: Runs, spoken: Mapping[str, Iterable[Row]]) -> list[Row]:
    """The statements that may be about the machine, of those `spoken` by their key."""
    return [one for name in machine.spoken_under for one in spoken.get(name, ())]


def said_of_unseen(said: Iterable[Row]) -> Row | None:
    """The last statement under a name that no machine had then."""
    unseen = (one for one in said if one["machine_first"] is None)
    return max(unseen, key=lambda one: int(one["number"]), default=None)


def word_left(judged: Judged, spoken: Mapping[str, Iterable[Row]]) -> Row | None:
    """The last statement on a machine that only discounted stations reported: what a person saw stays."""
    if judged.counted or not judged.discounted:
        return None
    kept_under = words_kept_under(run.first for run in judged.discounted)
    said = [one for name in kept_under for one in spoken.get(name, ()) if one["machine"] == judged.key]
    last = max(said, key=lambda one: int(one["number"]), default=None)
    return last if last is not None and last["status"] else None


def person_counts(statement: Row | None, machine: Runs) -> bool:
    """Whether a person's statement counts before what the machine showed.

    It does until a medium looks inside the machine again, whatever that finds, or sends for a person; a
    confirmation also outlasts a look that finds all well. Later is what arrived later.
    """
    if statement is None or not statement["status"]:
        return False
    confirmed = statement["status"] == Statement.CONFIRMED
    return int(statement["arrival"]) > (machine.troubled if confirmed else machine.looked)


def is_known(statement: Row | None, machine: Runs) -> bool:
    """Whether a person spoke of this very machine; what was said of a line is of the first one that is it."""
    if statement is None or not statement["status"]:
        return False
    return statement["machine_first"] is not None or statement["name_key"] in machine.name_keys


def own_mark(machine: Runs, statement: Row | None) -> Mark | None:
    """How a machine stands by its reports: only by those after a statement that ended what was before."""
    if statement is None or statement["status"] in {"", Statement.CONFIRMED}:
        return machine.standing.mark
    later = [mark for mark in machine.standing.marks if mark.number > statement["arrival"]]
    standing = Standing()
    for mark in later:
        standing = standing.after(mark)
    return standing.mark or machine.standing.mark


def machine_row(machine: Runs, statement: Row | None) -> dict[str, Any]:
    line = machine.line or {}
    row = _row(machine.key, _shown_name(machine, line), line)
    row["site"] = line.get("site") or machine.site or ""
    row["serial"] = machine.serial or line.get("serial")
    row["serial_key"] = machine.serial_key
    row["last_seen"] = machine.last_seen
    row["first"] = machine.first
    row["line"] = line.get("name_key")
    if person_counts(statement, machine):
        assert statement is not None
        row = _stated(row, statement)
        own = machine.standing.mark
        if own and own.status in FINISHED and row["status"] in FINISHED:
            row["finished_at"] = own.received or None  # a word on what is done makes it no newer
        return row
    mark = own_mark(machine, statement)
    row["status"] = (mark.status if mark else MachineStatus.SEEN).value
    row["reason"] = mark.reason if mark else ""
    row["basis"] = Basis.PROVED.value
    row["run"] = mark.run if mark else machine.latest.run
    row["station"] = mark.station if mark else machine.latest.station
    if row["status"] in FINISHED:
        row["finished_at"] = (mark.received or None) if mark else machine.last_seen
    return row


def spoken_row(judged: Judged, word: Row, line: Row | None) -> dict[str, Any]:
    """The row of a machine that is known by a person's statement alone (`word_left`), and by the inventory's
    line of that name. Its site is the list's, else that of the station which showed it to the person.
    """
    row = _row(judged.key, line["name"] if line else word["name"], line or {})
    shown = next((one.site for one in judged.discounted if one.first == word["machine_first"]), None)
    row["site"] = (line["site"] if line else None) or shown or ""
    row["serial"] = line["serial"] if line else None
    row["first"] = word["machine_first"]
    row["line"] = line["name_key"] if line else None
    return _stated(row, word)


def named_row(name: str, expectation: Row | None, statement: Row | None) -> dict[str, Any] | None:
    """The row of a name that no machine has reported; None where neither list nor statement has it."""
    stated = statement is not None and bool(statement["status"])
    if expectation is None and not stated:
        return None
    line = expectation or {}
    shown = line.get("name") or (statement["name"] if statement else name)
    row = _row(NAMED + name, shown, line)
    row["name_key"] = name
    row["site"] = line.get("site") or ""
    row["serial"] = line.get("serial")
    if stated:
        assert statement is not None
        return _stated(row, statement)
    row["status"] = MachineStatus.EXPECTED.value
    row["basis"] = Basis.EXPECTED.value
    return row


def _row(key: str, name: str, line: Row) -> dict[str, Any]:
    return {
        **dict.fromkeys(_COLUMNS),
        **dict.fromkeys(("status", "basis", "reason", "site"), ""),
        **{column: line.get(column) for column in ("service", "priority", "owner")},
        "key": key,
        "name": name,
        "name_key": name_key(name),
    }


def _stated(row: dict[str, Any], statement: Row) -> dict[str, Any]:
    row["status"] = statement["status"]
    row["basis"] = Basis.MARKED.value
    row["reason"] = statement["reason"]
    row["marked_by"] = statement["who"]
    row["marked_at"] = statement["at"]
    row["finished_at"] = statement["at"] if row["status"] in WORKED else None
    return row


def _shown_name(machine: Runs, line: Row) -> str:
    if line and line["name_key"] in machine.name_keys:
        return str(line["name"])
    known = (*machine.names[:1], line.get("name"), machine.serial, machine.disk_guid)
    return str(next((one for one in known if one), machine.key.partition(":")[2]))


def _last(values: Any) -> str | None:
    return next((one for one in reversed(list(values)) if one), None)
