"""Adds everything up again, slowly and from the events alone: to compare with what is kept, or to replace it.

Reads all events in order of their runs, holds one record a run and one row a machine in memory, and shares
with the counting only the pure rules (`runs.py`, `rows.py`, `identities.py`), not how the rows are kept true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice
from typing import Any

from sqlalchemy import Connection, Table, select

from unbrick.tally.books.bulk import insert_rows, key_of, rows_of
from unbrick.tally.books.schema import (
    brought,
    contradictions,
    counters,
    events,
    expected,
    machine_names,
    machines,
    metadata,
    minutes,
    namesakes,
    newcomers,
    runs,
    statements,
    totals,
    unlisted,
)
from unbrick.tally.count.contradictions import (
    CONTRADICTIONS,
    UNCOUNTED,
    held_row,
    rows_of_machine,
    shared_row,
)
from unbrick.tally.count.counted_runs import Judged, Kind, first_of_runs, is_second, judge
from unbrick.tally.count.counting import FOLDED_IN, fold_rows
from unbrick.tally.count.decisions import APART, Decisions, read_decisions
from unbrick.tally.count.identities import NO_IDENTITY, machine_of
from unbrick.tally.count.machines import counted_places
from unbrick.tally.count.names import name_key
from unbrick.tally.count.newcomers import (
    State,
    asking,
    has_place,
    held_as,
    in_turn,
    is_of_line,
    name_places,
    place_of,
    too_many_under,
)
from unbrick.tally.count.rows import (
    Row,
    gather,
    is_known,
    machine_row,
    named_row,
    said_of,
    said_of_unseen,
    spoken_row,
    statement_on,
    word_left,
)
from unbrick.tally.count.runs import RunRecord

_MOST_DIFFERENCES = 20

ADDED_UP = (
    *(runs, machines, machine_names, contradictions, newcomers, brought, namesakes),
    *(counters, unlisted, minutes, totals),
)
"""The tables that hold nothing but what the others add up to."""


class Recount:
    """What those tables should hold: their rows by primary key."""

    def __init__(self) -> None:
        self.rows: dict[Table, dict[tuple[Any, ...], dict[str, Any]]] = {table: {} for table in ADDED_UP}

    def add(self, table: Table, row: dict[str, Any]) -> None:
        self.rows[table][tuple(row[name] for name in key_of(table))] = row

    def of(self, table: Table) -> Collection[dict[str, Any]]:
        return self.rows[table].values()


class _KnownInMemory:
    def __init__(self, records: Mapping[tuple[str, str], RunRecord], decided: Decisions) -> None:
        self._uuids: dict[tuple[str, str | None], str] = {}
        self._names: dict[str, str] = {}
        for record in records.values():
            if not record.disk_guid or record.station in decided.discounted:
                continue
            if record.first_name_key:
                name = self._names.get(record.disk_guid, record.first_name_key)
                self._names[record.disk_guid] = min(name, record.first_name_key)
            if record.smbios_uuid:
                for place in ((record.disk_guid, None), (record.disk_guid, record.first_name_key)):
                    self._uuids[place] = min(self._uuids.get(place, record.smbios_uuid), record.smbios_uuid)

    def first_uuid(self, disk_guid: str, name_key: str | None) -> str | None:
        return self._uuids.get((disk_guid, name_key))

    def first_name(self, disk_guid: str) -> str | None:
        return self._names.get(disk_guid)


def recount(connection: Connection) -> Recount:
    """Add everything up from what was told to us: `events`, `expected`, `statements` and `decisions`."""
    result = Recount()
    decided = read_decisions(connection)
    records = _fold_events(connection, result)
    known = _KnownInMemory(records, decided)
    runs_of: dict[str, list[RunRecord]] = defaultdict(list)
    begun = first_of_runs(records.values(), decided)
    for record in records.values():
        record = replace(record, second=is_second(record, begun))
        key = machine_of(record, known, decided)
        if not key.startswith(NO_IDENTITY):
            runs_of[key].append(record)
        result.add(runs, {**record.to_row(), "machine": key})
    lines = {row["name_key"]: row for row in _rows(connection, expected)}
    meant = {record["first"]: record["machine"] for record in result.of(runs)}
    spoken: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(connection, statements):
        if row["taken_back_at"] is not None:
            continue
        spoken[row["name_key"]].append({**row, "machine": meant.get(row["machine_first"])})
    by_serial = _by_serial(lines)
    judged = [judge(key, found, lines, by_serial, decided) for key, found in runs_of.items()]
    _make_rows(result, judged, lines, spoken)
    _give_places(result, records, decided)
    _find_contradictions(result, judged)
    _count(result)
    return result


def _fold_events(connection: Connection, result: Recount) -> dict[tuple[str, str], RunRecord]:
    records = {}
    number = oddities = 0
    arrivals: list[int] = []
    found = select(events).order_by(events.c.run, events.c.station, *FOLDED_IN)
    for run, rows in groupby(rows_of(connection, found), key=lambda row: (row["run"], row["station"])):
        of_run = list(rows)
        records[run] = fold_rows(run, of_run)
        number += len(of_run)
        oddities += records[run].contradicted
        times = [row["received"] for row in of_run]
        arrivals += [min(times), max(times)]
    if number:
        wanted = {
            "events": number,
            "oddities": oddities,
            "first_event": min(arrivals),
            "last_event": max(arrivals),
        }
        for name, value in wanted.items():
            result.add(totals, {"name": name, "value": value})
    return records


def _by_serial(lines: Mapping[str, Row]) -> dict[str, Row]:
    named = (lines[name] for name in sorted(lines, reverse=True))
    return {line["serial_key"]: line for line in named if line["serial_key"]}


def _make_rows(
    result: Recount,
    judged: Sequence[Judged],
    lines: Mapping[str, Row],
    spoken: Mapping[str, list[Row]],
) -> None:
    first: dict[str, int] = {}
    words = {one.key: word for one in judged if (word := word_left(one, spoken))}
    for one in judged:
        word = words.get(one.key)
        for name in one.name_keys | ({name_key(word["name"])} if word else set()):
            result.add(machine_names, {"name_key": name, "key": one.key})
            if one.counted or word:
                begun = word["machine_first"] if word else min(run.first for run in one.counted)
                first[name] = min(first.get(name, begun), begun)
    settled: set[str] = set()
    for one in judged:
        if one.counted:
            machine = gather(one)
            statement = statement_on(machine, said_of(machine, spoken), first)
            result.add(machines, machine_row(machine, statement))
            for asker in [] if is_known(statement, machine) else asking(one):
                result.add(brought, asker)
            settled |= {machine.line["name_key"]} if machine.line else set()
        elif word := words.get(one.key):
            line = lines.get(name_key(word["name"]))
            result.add(machines, spoken_row(one, word, line))
            settled |= {line["name_key"]} if line else set()
    for name in lines.keys() | spoken.keys():
        line = lines.get(name)
        if name in settled or (line is None and name in first):
            continue
        row = named_row(name, line, said_of_unseen(spoken.get(name, ())))
        if row:
            result.add(machines, row)


def _give_places(result: Recount, records: Mapping[tuple[str, str], RunRecord], decided: Decisions) -> None:
    """Let those that ask come one after the other, in the order of arrival."""
    most: dict[str, int] = defaultdict(int)
    for one in records.values():
        most[place_of(one)] = max(most[place_of(one)], one.most)
    askers = sorted(result.of(brought), key=in_turn)
    named: dict[str, list[Row]] = defaultdict(list)
    for row in askers:
        for place in name_places(row):
            named[place].append(row)
            result.add(namesakes, {"place": place, "first": row["first"], "machine": row["machine"]})
    taken: Counter[str] = Counter()
    placed: set[str] = set()
    held: dict[str, str] = {}
    for row in askers:
        if row["machine"] in placed:
            continue
        too_many = too_many_under(row, named, decided)
        if too_many is not None:
            row["state"] = State.NAMESAKE.value
        elif taken[row["place"]] < (1 if is_of_line(row) else most[row["place"]]):
            row["state"] = State.PLACED.value
            taken[row["place"]] += 1
        else:
            row["state"] = State.BEYOND.value
        if has_place(row, decided):
            placed.add(row["machine"])
        if not is_of_line(row):
            held.setdefault(row["machine"], held_as(row, too_many, decided))
    for place, number in most.items():
        result.add(newcomers, {"place": place, "most": number, "placed": taken[place]})
    for key in held.keys() - placed:
        result.rows[machines][(key,)]["held"] = held[key]


def _find_contradictions(result: Recount, judged: Sequence[Judged]) -> None:
    held = Counter(row["held"] for row in result.of(machines) if row["held"])
    rows = [held_row(*one) for one in held.items()]
    rows += [row for one in judged for row in rows_of_machine(one)]
    named: dict[str, set[str]] = defaultdict(set)
    serials: dict[str, set[str]] = defaultdict(set)
    for name, key in result.rows[machine_names]:
        if (key,) in result.rows[machines] and not result.rows[machines][(key,)]["held"]:
            named[name].add(key.partition(APART)[0])
    for row in result.of(machines):
        if row["serial_key"] and not row["held"]:
            serials[row["serial_key"]].add(row["key"].partition(APART)[0])
    rows += [shared_row(Kind.NAME, name) for name, keys in named.items() if len(keys) > 1]
    rows += [shared_row(Kind.SERIAL, serial) for serial, keys in serials.items() if len(keys) > 1]
    stations = {row["station"] for row in result.of(runs) if row["said_site"]}
    rows += [shared_row(Kind.SAID_SITE, station) for station in stations]
    for row in rows:
        result.add(contradictions, row)
    found = result.of(contradictions)
    for name, number in ((CONTRADICTIONS, len(found)), (UNCOUNTED, sum(row["uncounted"] for row in found))):
        if number:
            result.add(totals, {"name": name, "value": number})


def _count(result: Recount) -> None:
    counted: dict[str, Counter[Any]] = defaultdict(Counter)
    for row in result.of(machines):
        for counter, place in counted_places(row):
            counted[counter][place] += 1
    for place, number in counted["counted"].items():
        result.add(counters, {**dict(zip(key_of(counters), place, strict=True)), "machines": number})
    for station, number in counted["unlisted"].items():
        result.add(unlisted, {"station": station, "machines": number})
    for minute, number in counted["finished"].items():
        repaired = counted["repaired"][minute]
        result.add(minutes, {"minute": minute, "repaired": repaired, "finished": number})


def _rows(connection: Connection, table: Table) -> Iterator[dict[str, Any]]:
    return rows_of(connection, select(table))


def rebuild(connection: Connection) -> None:
    """Drop every table that is added up, make it as it is today and fill it; slow: reads all events."""
    metadata.drop_all(connection, ADDED_UP)
    metadata.create_all(connection, ADDED_UP)
    for table, rows in recount(connection).rows.items():
        insert_rows(connection, table, list(rows.values()))


def differences(connection: Connection) -> tuple[str, ...]:
    """Each difference between the tables and a recount, in a sentence, at most twenty of them."""
    said = list(islice(_compare(connection, recount(connection)), _MOST_DIFFERENCES + 1))
    if len(said) > _MOST_DIFFERENCES:
        said[-1] = "there are more differences than these"
    return tuple(said)


def _compare(connection: Connection, right: Recount) -> Iterator[str]:
    for table, wanted in right.rows.items():
        kept = {tuple(row[name] for name in key_of(table)): row for row in _rows(connection, table)}
        if table is runs:  # which runs bear depends on how rows were kept true, and shows in the rows
            for place in wanted.keys() & kept.keys():
                kept[place]["bears"] = wanted[place]["bears"]
        for place in sorted(wanted.keys() | kept.keys(), key=repr):
            if place not in kept:
                yield f"{table.name}: {place} is missing"
            elif place not in wanted:
                yield f"{table.name}: {place} should not be there"
            elif wanted[place] != kept[place]:
                wrong = [name for name in kept[place] if kept[place][name] != wanted[place].get(name)]
                yield f"{table.name}: {place} differs in {', '.join(wrong)}"
