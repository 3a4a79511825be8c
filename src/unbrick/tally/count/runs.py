"""One run, folded from its events: what it learned of its machine, and how it stands. Pure.

A run belongs to its station: events of one run id that two stations signed are two runs, never mixed.

Every part is a maximum, a minimum or a union, so the order of arrival does not matter; of two events with
the same number only one may be folded (`counting.py` chooses).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from unbrick.events.event import Event
from unbrick.events.identity import valid_serial, valid_smbios_uuid
from unbrick.events.run_id import moment_of_run
from unbrick.events.short_code import plain_code, short_code
from unbrick.events.standing import MachineStatus, Mark, Standing, mark_of
from unbrick.model import Machine
from unbrick.settings.strict import parse_json
from unbrick.tally.books.clock import MICROSECONDS_A_MINUTE, microseconds
from unbrick.tally.books.schema import NO_MOST
from unbrick.tally.count.names import name_key, serial_key

MOST_NAMES = 16
"""So many names of a machine are known: the first ones."""

_LONGEST_CARRIED = 31 * 24 * 60 * MICROSECONDS_A_MINUTE
_PARTS = ("proof", "look", "state")
_OF_MARK = ("sequence", "reason", "received", "number")
_AS_THEY_ARE = (
    *("run", "station", "machine", "smbios_uuid", "disk_guid", "serial", "site", "said_site", "everywhere"),
    *("second", "contradicted", "last_sequence", "last_seen", "first", "first_received", "bears", "most"),
)
"""The fields of a record that are columns of table `runs` without a change."""


RunId = tuple[str, str]
"""The id of a run and its station."""


@dataclass(frozen=True)
class Arrived:
    """`received` is in microseconds, `number` in the order of arrival; `carried`: made some time before."""

    id: bytes
    event: Event
    station: str
    received: int
    number: int
    site: str | None
    everywhere: bool
    carried: bool
    most: int = NO_MOST

    @property
    def run(self) -> RunId:
        return (self.event.run, self.station)


@dataclass(frozen=True)
class RunRecord:
    """What the events of one run add up to. Times are microseconds; `names` are sorted without case.

    `machine`: the key of the row it counts for, `""` before that is known. `first`: the number of the first
    of its events to arrive, `first_received`: when. `site`: the station's by its enrolment, or the events'
    where nobody enrolled it; `said_site`: another one, which the events name. `everywhere`: its word counts
    at every site. `second`: another station began a run with this id before. `contradicted` counts events
    with the number of another one. `bears`: `Bears` in `bearing.py`. `most`: how many
    machines that nobody knew its station could bring when it came (`newcomers.py`).
    """

    run: str
    station: str = ""
    machine: str = ""
    smbios_uuid: str | None = None
    disk_guid: str | None = None
    names: tuple[str, ...] = ()
    serial: str | None = None
    site: str | None = None
    said_site: str | None = None
    everywhere: bool = True
    second: bool = False
    contradicted: int = 0
    last_sequence: int = 0
    last_seen: int = 0
    first: int = 0
    first_received: int = 0
    standing: Standing = field(default_factory=Standing)
    bears: int = 1
    most: int = NO_MOST

    @property
    def first_name_key(self) -> str | None:
        return name_key(self.names[0]) if self.names else None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """All that decides which machine the run counts for."""
        return (self.smbios_uuid, self.disk_guid, self.first_name_key, self.serial)

    @property
    def code(self) -> str:
        """The code that the station of this run showed for the sticker, as `plain_code` writes it."""
        machine = Machine(self.smbios_uuid, self.serial, self.disk_guid, self.names)
        return plain_code(short_code(machine, self.run))

    @property
    def marks(self) -> tuple[Mark, ...]:
        place = self.place
        return tuple(replace(mark, station=self.station, place=place) for mark in self.standing.marks)

    @property
    def name_keys(self) -> frozenset[str]:
        return frozenset(map(name_key, self.names))

    @property
    def id(self) -> RunId:
        return (self.run, self.station)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among all runs: by the time in its id, where that is at most 31 days before its
        arrival (a report may be carried for long) and not after it; else by its arrival.
        """
        began = _time_of(self.run)
        believed = self.first_received - _LONGEST_CARRIED <= began <= self.first_received
        return (began if believed else self.first_received, self.first)

    def to_row(self) -> dict[str, Any]:
        """The row of table `runs`."""
        row: dict[str, Any] = {name: getattr(self, name) for name in _AS_THEY_ARE}
        row["first_name_key"] = self.first_name_key
        row["names"] = json.dumps(self.names, ensure_ascii=False)
        row["serial_key"] = serial_key(self.serial) if self.serial else None
        for part in _PARTS:
            mark: Mark | None = getattr(self.standing, part)
            row |= {f"{part}_{name}": getattr(mark, name, None) for name in _OF_MARK}
            row[f"{part}_status"] = mark.status.value if mark else None
        row["code"] = self.code
        return row


def run_of(row: Mapping[str, Any]) -> RunRecord:
    """The record of a row of table `runs`."""
    return RunRecord(
        **{name: row[name] for name in _AS_THEY_ARE},
        names=tuple(parse_json(row["names"])),
        standing=Standing(**{part: _mark_in(row, part) for part in _PARTS}),
    )


def _mark_in(row: Mapping[str, Any], part: str) -> Mark | None:
    if row[f"{part}_sequence"] is None:
        return None
    status = MachineStatus(row[f"{part}_status"])
    return Mark(row["run"], status=status, **{name: row[f"{part}_{name}"] for name in _OF_MARK})


def fold_run(record: RunRecord, one: Arrived) -> RunRecord:
    """The record after one more event of its run."""
    event, machine = one.event, one.event.machine
    mark = mark_of(event)
    standing = record.standing
    if mark is not None:
        received = 0 if one.carried else one.received
        standing = standing.after(replace(mark, received=received, number=one.number))
    latest = event.sequence > record.last_sequence
    site = one.site or event.site
    said = event.site if one.site and event.site and event.site != one.site else None
    return replace(
        record,
        smbios_uuid=_smaller(record.smbios_uuid, valid_smbios_uuid(machine.smbios_uuid)),
        disk_guid=_smaller(record.disk_guid, _valid_guid(machine.disk_guid)),
        names=merge_names(record.names, machine.hostnames),
        serial=_smaller(record.serial, valid_serial(machine.serial)),
        site=site if latest else record.site,
        said_site=_smaller(record.said_site, said),
        everywhere=(one.everywhere or one.site is None) if latest else record.everywhere,
        last_sequence=max(record.last_sequence, event.sequence),
        last_seen=max(record.last_seen, one.received),
        standing=standing,
    )


def began_with(record: RunRecord, arrived: Iterable[Arrived]) -> RunRecord:
    """The record with the first of its events to arrive, also where another event with its number counts."""
    for one in arrived:
        if not record.first or one.number < record.first:
            record = replace(record, first=one.number, first_received=one.received, most=one.most)
    return record


@lru_cache(maxsize=50_000)  # every event of a machine asks for all its runs
def _time_of(run: str) -> int:
    """By the clock of its machine; 0 where the id has no time of the calendar."""
    try:
        return microseconds(moment_of_run(run))
    except ValueError:
        return 0


def merge_names(*groups: Iterable[str]) -> tuple[str, ...]:
    """All the names once, sorted without case; the first sixteen in that order, not in that of arrival."""
    merged: dict[str, str] = {}
    for name in (name.strip() for group in groups for name in group):
        if name:
            key = name_key(name)
            merged[key] = min(name, merged.get(key, name), key=lambda one: (len(one), one))
    return tuple(merged[key] for key in sorted(merged)[:MOST_NAMES])


def _smaller(one: str | None, other: str | None) -> str | None:
    # Of two claims of one run the smaller, so that the order of arrival changes nothing.
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _valid_guid(text: str | None) -> str | None:
    digits = (text or "").replace("-", "")
    return None if len(set(digits)) < 2 else text
