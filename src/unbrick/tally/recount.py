"""Adds everything up again, slowly and from the events alone, and says where the kept numbers differ.

Reads all events in order of their runs, holds one record a run and one row a machine in memory, and shares
with the counting only the pure rules (`runs.py`, `rows.py`, `identities.py`), not how they are kept true.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, select

from unbrick.tally.bulk import rows_of
from unbrick.tally.counting import fold_rows
from unbrick.tally.identities import machine_of
from unbrick.tally.machines import counted_places
from unbrick.tally.records import NAMED
from unbrick.tally.rows import (
    Row,
    expectation_of,
    gather,
    machine_row,
    named_row,
    said_of,
    said_of_unseen,
    statement_on,
)
from unbrick.tally.runs import RunRecord
from unbrick.tally.schema import (
    counters,
    events,
    expected,
    machine_names,
    machines,
    minutes,
    runs,
    statements,
    totals,
)

_MOST_DIFFERENCES = 20


@dataclass
class Recount:
    """What the tables should hold, each by its key."""

    runs: dict[Any, dict[str, Any]] = field(default_factory=dict)
    machines: dict[Any, dict[str, Any]] = field(default_factory=dict)
    machine_names: dict[Any, dict[str, Any]] = field(default_factory=dict)
    counters: dict[Any, dict[str, Any]] = field(default_factory=dict)
    minutes: dict[Any, dict[str, Any]] = field(default_factory=dict)
    totals: dict[Any, dict[str, Any]] = field(default_factory=dict)


class _KnownInMemory:
    def __init__(self, records: Mapping[str, RunRecord]) -> None:
        self._uuids: dict[tuple[str, str | None], str] = {}
        self._names: dict[str, str] = {}
        for record in records.values():
            if not record.disk_guid:
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
    """Add everything up from `events`, `expected` and `statements`."""
    result = Recount()
    records = _fold_events(connection, result)
    known = _KnownInMemory(records)
    runs_of: dict[str, list[RunRecord]] = defaultdict(list)
    for run, record in records.items():
        key = machine_of(record, known)
        runs_of[key].append(record)
        result.runs[(run,)] = {**record.to_row(), "machine": key}
    lines = {row["name_key"]: row for row in _rows(connection, expected)}
    meant = {record["first"]: record["machine"] for record in result.runs.values()}
    spoken: dict[str, list[Row]] = defaultdict(list)
    for row in _rows(connection, statements):
        if row["taken_back_at"] is not None:
            continue
        spoken[row["name_key"]].append({**row, "machine": meant.get(row["machine_first"])})
    _make_rows(result, runs_of, lines, spoken)
    _count(result)
    return result


def _fold_events(connection: Connection, result: Recount) -> dict[str, RunRecord]:
    records = {}
    number = distinct = 0
    arrivals: list[int] = []
    found = select(events).order_by(events.c.run, events.c.sequence, events.c.id)
    for run, rows in groupby(rows_of(connection, found), key=lambda row: row["run"]):
        of_run = list(rows)
        records[run] = fold_rows(run, of_run)
        number += len(of_run)
        distinct += len({row["sequence"] for row in of_run})
        times = [row["received"] for row in of_run]
        arrivals += [min(times), max(times)]
    if number:
        wanted = {
            "events": number,
            "oddities": number - distinct,
            "first_event": min(arrivals),
            "last_event": max(arrivals),
        }
        result.totals = {(name,): {"name": name, "value": value} for name, value in wanted.items()}
    return records


def _make_rows(
    result: Recount,
    runs_of: Mapping[str, list[RunRecord]],
    lines: Mapping[str, Row],
    spoken: Mapping[str, list[Row]],
) -> None:
    by_serial: dict[str, Row] = {}
    for name in sorted(lines, reverse=True):
        if lines[name]["serial_key"]:
            by_serial[lines[name]["serial_key"]] = lines[name]
    seen_names: set[str] = set()
    seen_serials: set[str | None] = set()
    gathered = [gather(key, of_machine) for key, of_machine in runs_of.items()]
    first: dict[str, int] = {}
    for machine in gathered:
        for name in machine.name_keys:
            first[name] = min(first.get(name, machine.first), machine.first)
    for machine in gathered:
        key = machine.key
        expectation = expectation_of(machine, lines, by_serial)
        said = said_of(machine, expectation, spoken)
        statement = statement_on(machine, expectation, said, first)
        result.machines[(key,)] = machine_row(machine, expectation, statement)
        for name in machine.name_keys:
            result.machine_names[name, key] = {"name_key": name, "key": key}
        seen_names |= machine.name_keys
        seen_serials |= {machine.serial_key} - {None}
    for name in lines.keys() | spoken.keys():
        line = lines.get(name)
        if name in seen_names or (line and line["serial_key"] in seen_serials):
            continue
        row = named_row(name, line, said_of_unseen(spoken.get(name, ())))
        if row:
            result.machines[(NAMED + name,)] = row


def _count(result: Recount) -> None:
    counted: dict[str, Counter[Any]] = defaultdict(Counter)
    for row in result.machines.values():
        for counter, place in counted_places(row):
            counted[counter][place] += 1
    for place, number in counted["counted"].items():
        status, site, reason, basis = place
        result.counters[place] = {
            "status": status,
            "site": site,
            "reason": reason,
            "basis": basis,
            "machines": number,
        }
    for minute, number in counted["finished"].items():
        repaired = counted["repaired"][minute]
        result.minutes[(minute,)] = {"minute": minute, "repaired": repaired, "finished": number}


def _rows(connection: Connection, table: Any) -> list[dict[str, Any]]:
    return list(rows_of(connection, select(table)))


def differences(connection: Connection) -> tuple[str, ...]:
    """Each difference between the tables and a recount, in a sentence, at most twenty of them."""
    right = recount(connection)
    said: list[str] = []
    for sentence in _compare(connection, right):
        if len(said) == _MOST_DIFFERENCES:
            return (*said, "there are more differences than these")
        said.append(sentence)
    return tuple(said)


def _compare(connection: Connection, right: Recount) -> Iterator[str]:
    for table in (runs, machines, machine_names, counters, minutes, totals):
        wanted: Mapping[Any, dict[str, Any]] = getattr(right, table.name)
        key = [column.name for column in table.primary_key]
        kept = {tuple(row[name] for name in key): row for row in _rows(connection, table)}
        for place in sorted(wanted.keys() | kept.keys(), key=repr):
            if place not in kept:
                yield f"{table.name}: {place} is missing"
            elif place not in wanted:
                yield f"{table.name}: {place} should not be there"
            elif wanted[place] != kept[place]:
                wrong = [name for name in kept[place] if kept[place][name] != wanted[place].get(name)]
                yield f"{table.name}: {place} differs in {', '.join(wrong)}"
