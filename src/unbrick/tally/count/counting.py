"""Takes events into the database: each once, with its run and its machine, in the caller's transaction."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, bindparam, func, select, update

from unbrick.events.event import parse_event
from unbrick.tally.books.bulk import chunks, insert_rows, rows_for, rows_of, rows_where, update_rows
from unbrick.tally.books.clock import microseconds
from unbrick.tally.books.ledger import append
from unbrick.tally.books.prepared import Prepared
from unbrick.tally.books.schema import events, runs, statements, totals
from unbrick.tally.count.bearing import Bears, says_no_less
from unbrick.tally.count.contradictions import note_said_sites
from unbrick.tally.count.counted_runs import first_of_runs, is_second
from unbrick.tally.count.decisions import Decisions, read_decisions
from unbrick.tally.count.identities import machine_of
from unbrick.tally.count.machines import refresh
from unbrick.tally.count.newcomers import NEW_MACHINES_A_DAY, Newcomers
from unbrick.tally.count.runs import Arrived, RunId, RunRecord, began_with, fold_run, run_of
from unbrick.tally.records import ReceivedEvent

_KNOWN_IDS = Prepared(select(events.c.id).where(events.c.id.in_(bindparam("wanted", expanding=True))))
_LAST_NUMBERS = Prepared(
    select(
        select(func.max(events.c.number)).scalar_subquery(),
        select(func.max(statements.c.arrival)).scalar_subquery(),
    )
)
_DISKS = runs.c.disk_guid.in_(bindparam("disks", expanding=True))
_NAMES = runs.c.first_name_key.in_(bindparam("names", expanding=True))
_FIRST_UUIDS = Prepared(
    select(runs.c.disk_guid, runs.c.first_name_key, func.min(runs.c.smbios_uuid).label("uuid"))
    .where(
        _DISKS,
        _NAMES,
        runs.c.smbios_uuid.is_not(None),
        runs.c.station.not_in(bindparam("discounted", expanding=True)),
    )
    .group_by(runs.c.disk_guid, runs.c.first_name_key)
)
_WITHOUT_UUID = select(runs).where(_DISKS, runs.c.smbios_uuid.is_(None))
_NAMELESS = Prepared(_WITHOUT_UUID.where(runs.c.first_name_key.is_(None)))
_NAMED = Prepared(_WITHOUT_UUID.where(_NAMES))
_ASSIGN = Prepared(
    update(runs)
    .where(runs.c.run == bindparam("the_run"), runs.c.station == bindparam("the_station"))
    .values(machine=bindparam("the_machine"), bears=Bears.RECENT.value)
)
_TOTALS = Prepared(select(totals))


FOLDED_IN = (events.c.sequence, events.c.id)
"""The order in which `fold_rows` takes a run's events."""


def add_events(
    connection: Connection, batch: Sequence[ReceivedEvent], new_machines: int = NEW_MACHINES_A_DAY
) -> int:
    """Keep and count what is new of a batch; returns how many events that were.

    `new_machines`: how many unknown machines count of one station and day.
    """
    fresh = _without_known(connection, batch)
    if not fresh:
        return 0
    number = next_number(connection)
    arrived = [
        _arrived(id_, one, number + place, new_machines) for place, (id_, one) in enumerate(fresh.items())
    ]
    before = _load_runs(connection, {one.event.run for one in arrived})
    winners, refolded, oddities = _choose(connection, arrived, before)
    insert_rows(
        connection, events, [_event_row(one, kept) for one, kept in zip(fresh.values(), arrived, strict=True)]
    )
    append(connection, fresh)
    arrived_of: dict[RunId, list[Arrived]] = defaultdict(list)
    for one in arrived:
        arrived_of[one.run].append(one)
    after = {}
    for run, chosen in winners.items():
        record = before.get(run, RunRecord(*run))
        if run in refolded:
            whole = rows_of(connection, select(events).where(_of(run)).order_by(*FOLDED_IN))
            record = replace(fold_rows(run, whole), machine=record.machine)
        else:
            for one in chosen:
                record = fold_run(record, one)
            record = began_with(record, arrived_of[run])
            if oddities[run]:
                record = replace(record, contradicted=record.contradicted + oddities[run])
        after[run] = record
    decided = read_decisions(connection)
    after = _with_seconds({**before, **after}, after, decided)
    after = {run: _bearing(before.get(run), record) for run, record in after.items()}
    changed = {run: before[run] for run in after if run in before}
    keys, lessened, after = _store_runs(connection, changed, after, decided)
    newcomers = Newcomers(connection, decided)
    newcomers.open_days(one for run, one in after.items() if run not in before)
    keys |= newcomers.again
    refresh(connection, keys, (), only_added=keys - lessened, decided=decided)
    said = (*changed.values(), *after.values())  # a run that is read anew may say no more what it did
    note_said_sites(connection, {one.station for one in said if one.said_site})
    _add_to_totals(connection, arrived, sum(oddities.values()))
    return len(fresh)


def _arrived(id_: bytes, one: ReceivedEvent, number: int, most: int) -> Arrived:
    received = microseconds(one.received)
    came = one.station, received, number, one.site, one.everywhere, bool(one.carried), most
    return Arrived(id_, one.event, *came)


def _bearing(before: RunRecord | None, after: RunRecord) -> RunRecord:
    # A run that changed bears on its machine; it still stands for others only while it says no less.
    stands = before is not None and before.bears == Bears.STANDS and says_no_less(before, after)
    bears = (Bears.STANDS if stands else Bears.RECENT).value
    return after if after.bears == bears else replace(after, bears=bears)


def _with_seconds(
    known: Mapping[RunId, RunRecord],
    after: Mapping[RunId, RunRecord],
    decided: Decisions,
) -> dict[RunId, RunRecord]:
    begun = first_of_runs(known.values(), decided)
    return {
        run: record
        if record.second == is_second(record, begun)
        else replace(record, second=not record.second)
        for run, record in after.items()
    }


def next_number(connection: Connection) -> int:
    """The number for the next event or statement to arrive."""
    (last,) = _LAST_NUMBERS.named_rows(connection)
    return 1 + max(number or 0 for number in last.values())


def _without_known(connection: Connection, batch: Sequence[ReceivedEvent]) -> dict[bytes, ReceivedEvent]:
    fresh: dict[bytes, ReceivedEvent] = {}
    for one in batch:
        id_ = hashlib.sha256(one.signed.data).digest()
        other = fresh.get(id_)
        if other is None or (one.received, one.station) < (other.received, other.station):
            fresh[id_] = one
    for row in rows_for(connection, _KNOWN_IDS, list(fresh)):
        del fresh[bytes(row["id"])]
    return fresh


def _event_row(one: ReceivedEvent, kept: Arrived) -> dict[str, Any]:
    return {
        "id": kept.id,
        "run": one.event.run,
        "sequence": one.event.sequence,
        "station": one.station,
        "received": kept.received,
        "number": kept.number,
        "carried": one.carried.value,
        "site": one.site,
        "everywhere": one.everywhere or one.site is None,
        "at": one.event.at,
        "most": kept.most,
        "data": one.signed.data,
        "signature": one.signed.signature,
    }


def _load_runs(connection: Connection, names: Iterable[str]) -> dict[RunId, RunRecord]:
    found = map(run_of, rows_where(connection, runs, runs.c.run, sorted(names)))
    return {record.id: record for record in found}


def _choose(
    connection: Connection, arrived: Sequence[Arrived], before: Mapping[RunId, RunRecord]
) -> tuple[dict[RunId, list[Arrived]], set[RunId], Counter[RunId]]:
    """The events to fold, by run; the runs to fold anew from the start; how many contradict another, by run.

    Of events with one number in one run, the one with the smallest id counts. Only where one of them was
    folded already, which no honest station brings about, everything is read again.
    """
    by_place: dict[RunId, dict[int, Arrived]] = defaultdict(dict)
    oddities: Counter[RunId] = Counter()
    for one in arrived:
        place = by_place[one.run]
        other = place.get(one.event.sequence)
        oddities[one.run] += other is not None
        place[one.event.sequence] = one if other is None or one.id < other.id else other
    refolded = set()
    for run, place in by_place.items():
        late = [number for number in place if run in before and number <= before[run].last_sequence]
        taken: set[int] = set()
        for numbers in chunks(late):
            query = select(events.c.sequence).where(_of(run), events.c.sequence.in_(numbers)).distinct()
            taken.update(connection.execute(query).scalars())
        if taken:
            refolded.add(run)
            oddities[run] += len(taken)
    return {run: list(place.values()) for run, place in by_place.items()}, refolded, oddities


def _of(run: RunId) -> ColumnElement[bool]:
    return and_(events.c.run == run[0], events.c.station == run[1])


def fold_rows(run: RunId, rows: Iterable[Mapping[str, Any]]) -> RunRecord:
    """The record of one run of one station from all its rows of `events`, ordered by sequence and id."""
    record = RunRecord(*run)
    last = contradicted = 0
    for row in rows:
        one = Arrived(
            row["id"],
            parse_event(row["data"]),
            row["station"],
            row["received"],
            row["number"],
            row["site"],
            row["everywhere"],
            bool(row["carried"]),
            row["most"],
        )
        record = began_with(record, [one])
        if row["sequence"] == last:
            contradicted += 1
            continue
        last = row["sequence"]
        record = fold_run(record, one)
    return replace(record, contradicted=contradicted)


class _KnownInDatabase:
    """Answers from the table of runs, each question once; the common one for many disks at a time.

    Runs of discounted stations are left out.
    """

    def __init__(self, connection: Connection, asked: Iterable[RunRecord], decided: Decisions) -> None:
        self._connection = connection
        self._discounted = sorted(decided.discounted)
        self._uuids: dict[tuple[str, str | None], str | None] = {}
        self._names: dict[str, str | None] = {}
        named = [(one.disk_guid, one.first_name_key) for one in asked if not one.smbios_uuid]
        for chunk in chunks({(disk, name) for disk, name in named if disk and name}):
            self._uuids |= dict.fromkeys(chunk)
            wanted = {**_disks_and_names(chunk), "discounted": self._discounted}
            for row in rows_of(connection, _FIRST_UUIDS, wanted):
                self._uuids[row["disk_guid"], row["first_name_key"]] = row["uuid"]

    def first_uuid(self, disk_guid: str, name_key: str | None) -> str | None:
        asked = (disk_guid, name_key)
        if asked not in self._uuids:
            query = select(func.min(runs.c.smbios_uuid)).where(
                runs.c.disk_guid == disk_guid, runs.c.station.not_in(self._discounted)
            )
            if name_key is not None:
                query = query.where(runs.c.first_name_key == name_key)
            self._uuids[asked] = self._connection.execute(query).scalar()
        return self._uuids[asked]

    def first_name(self, disk_guid: str) -> str | None:
        if disk_guid not in self._names:
            query = select(func.min(runs.c.first_name_key)).where(
                runs.c.disk_guid == disk_guid, runs.c.station.not_in(self._discounted)
            )
            self._names[disk_guid] = self._connection.execute(query).scalar()
        return self._names[disk_guid]


def _disks_and_names(places: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    disks, names = map(set, zip(*places, strict=True))
    return {"disks": sorted(disks), "names": sorted(names)}


def _store_runs(
    connection: Connection,
    before: Mapping[RunId, RunRecord],
    after: Mapping[RunId, RunRecord],
    decided: Decisions,
) -> tuple[set[str], set[str], dict[RunId, RunRecord]]:
    """Write the runs and give each its machine; returns the keys of all machines that this touches, and of
    those that lost a run that stood before others, or what it said; and the runs with their machines.
    """
    insert_rows(connection, runs, [one.to_row() for run, one in after.items() if run not in before])
    update_rows(connection, runs, [one.to_row() for run, one in after.items() if run in before])
    moved = {
        run: record
        for run, record in after.items()
        if run not in before or record.identity != before[run].identity
    }
    keys = {record.machine for record in (*before.values(), *after.values()) if record.machine}
    stood = {run: record for run, record in before.items() if record.bears == Bears.STANDS}
    lessened = {record.machine for run, record in stood.items() if after[run].bears != Bears.STANDS}
    now = dict(after)
    if moved:
        neighbours = {**_neighbours(connection, before, moved), **moved}
        for record, key in assign(connection, neighbours.values(), decided):
            keys |= {key, record.machine} - {""}
            if record.id in now:
                now[record.id] = replace(record, machine=key)
            if record.bears == Bears.STANDS:
                lessened.add(record.machine)
    return keys, lessened, now


def assign(
    connection: Connection, records: Collection[RunRecord], decided: Decisions
) -> list[tuple[RunRecord, str]]:
    """Give runs their machines; returns those (as they were) that got another one, with its key."""
    known = _KnownInDatabase(connection, records, decided)
    moved: list[tuple[RunRecord, str]] = []
    assigned = []
    for record in records:
        key = machine_of(record, known, decided)
        if key != record.machine:
            assigned.append({"the_run": record.run, "the_station": record.station, "the_machine": key})
            moved.append((record, key))
    if assigned:
        _ASSIGN.run(connection, assigned)
    return moved


def _neighbours(
    connection: Connection,
    before: Mapping[RunId, RunRecord],
    moved: Mapping[RunId, RunRecord],
) -> dict[RunId, RunRecord]:
    """The runs without a firmware UUID whose machine may now be another one: those of the same disk that
    have the same first name, or none.
    """
    changed = [*moved.values(), *(before[run] for run in moved if run in before)]
    places = {(record.disk_guid, record.first_name_key) for record in changed if record.disk_guid}
    found = {}
    # A run that shows neither name nor UUID changes nothing for the others that show neither.
    telling = {one.disk_guid for one in changed if one.first_name_key or one.smbios_uuid}
    for chunk in chunks(sorted(disk for disk in telling if disk)):
        for row in rows_of(connection, _NAMELESS, {"disks": chunk}):
            found[row["run"], row["station"]] = run_of(row)
    for named in chunks({(disk, name) for disk, name in places if disk and name}):
        for row in rows_of(connection, _NAMED, _disks_and_names(named)):
            found[row["run"], row["station"]] = run_of(row)
    return found


def _add_to_totals(connection: Connection, arrived: Sequence[Arrived], oddities: int) -> None:
    times = [one.received for one in arrived]
    known = {row["name"]: row["value"] for row in rows_of(connection, _TOTALS)}
    wanted = {
        "events": known.get("events", 0) + len(arrived),
        "oddities": known.get("oddities", 0) + oddities,
        "first_event": min(known.get("first_event", times[0]), *times),
        "last_event": max(known.get("last_event", times[0]), *times),
    }
    rows = [{"name": name, "value": value} for name, value in wanted.items() if known.get(name) != value]
    update_rows(connection, totals, [row for row in rows if row["name"] in known])
    insert_rows(connection, totals, [row for row in rows if row["name"] not in known])
