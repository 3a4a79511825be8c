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
from unbrick.tally.count.names import name_key, serial_key

MOST_NAMES = 16
"""So many names of a machine are known: the first ones."""

_LONGEST_CARRIED = 31 * 24 * 60 * MICROSECONDS_A_MINUTE
_PARTS = ("proof", "look", "state")


@dataclass(frozen=True)
class Arrived:
    """An event with its id as bytes, its arrival in microseconds, and its number in the order of arrival;
    whether it was made some time before.
    """

    id: bytes
    event: Event
    station: str
    received: int
    number: int
    site: str | None
    everywhere: bool
    carried: bool
    came: int = 0

    @property
    def run(self) -> tuple[str, str]:
        """Which run it belongs to: its station's of that id."""
        return (self.event.run, self.station)


@dataclass(frozen=True)
class RunRecord:
    """What the events of one run add up to. Times are microseconds; `names` are sorted without case.

    `machine` is the key of the row it counts for, `""` before that is known. `first` is the number under
    which the first of its events arrived, `first_received` the time.

    `site` is that of the station's enrolment, or the one in the events where nobody enrolled it;
    `said_site` is one that the events name and that it is not. `everywhere`: its word counts at every site.
    `second`: another station began a run with this id before. `contradicted` counts events that have the
    number of another one. `bears` is what `bearing.py` says of it among the runs of its machine, `came` what
    `newcomers.py` says of the machine that it brought.
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
    came: int = 0

    @property
    def first_name_key(self) -> str | None:
        """The computer name that the machine goes by where the firmware does not name it."""
        return name_key(self.names[0]) if self.names else None

    @property
    def identity(self) -> tuple[str | None, ...]:
        """All that decides which machine the run counts for."""
        return (self.smbios_uuid, self.disk_guid, self.first_name_key, self.serial)

    @property
    def code(self) -> str:
        """The sticker code that the station of this run showed in the end, as `plain_code` writes it."""
        machine = Machine(self.smbios_uuid, self.serial, self.disk_guid, self.names)
        return plain_code(short_code(machine, self.run))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """Those of its standing, with its station and its place among all runs."""
        place = self.place
        return tuple(replace(mark, station=self.station, place=place) for mark in self.standing.marks)

    @property
    def name_keys(self) -> frozenset[str]:
        """Every computer name, as they are compared."""
        return frozenset(map(name_key, self.names))

    @property
    def id(self) -> tuple[str, str]:
        """Which run it is."""
        return (self.run, self.station)

    @property
    def place(self) -> tuple[int, int]:
        """Where it stands among all runs: by the time in its id where that is no later than its arrival, and
        at most 31 days before it (a report may be carried for long), else by its arrival.
        """
        began = _time_of(self.run)
        believed = self.first_received - _LONGEST_CARRIED <= began <= self.first_received
        return (began if believed else self.first_received, self.first)

    def to_row(self) -> dict[str, Any]:
        """The row of table `runs`."""
        row: dict[str, Any] = {
            "run": self.run,
            "machine": self.machine,
            "smbios_uuid": self.smbios_uuid,
            "disk_guid": self.disk_guid,
            "first_name_key": self.first_name_key,
            "names": json.dumps(self.names, ensure_ascii=False),
            "serial": self.serial,
            "serial_key": serial_key(self.serial) if self.serial else None,
            "site": self.site,
            "said_site": self.said_site,
            "everywhere": self.everywhere,
            "second": self.second,
            "contradicted": self.contradicted,
            "station": self.station,
            "last_sequence": self.last_sequence,
            "last_seen": self.last_seen,
            "first": self.first,
            "first_received": self.first_received,
            "bears": self.bears,
            "came": self.came,
        }
        for part in _PARTS:
            mark: Mark | None = getattr(self.standing, part)
            row[f"{part}_sequence"] = mark.sequence if mark else None
            row[f"{part}_status"] = mark.status.value if mark else None
            row[f"{part}_reason"] = mark.reason if mark else None
            row[f"{part}_received"] = mark.received if mark else None
            row[f"{part}_number"] = mark.number if mark else None
        row["code"] = self.code
        return row


def run_of(row: Mapping[str, Any]) -> RunRecord:
    """The reverse of `to_row`."""
    marks = {
        part: Mark(
            row["run"],
            row[f"{part}_sequence"],
            MachineStatus(row[f"{part}_status"]),
            row[f"{part}_reason"],
            received=row[f"{part}_received"],
            number=row[f"{part}_number"],
        )
        if row[f"{part}_sequence"] is not None
        else None
        for part in _PARTS
    }
    return RunRecord(
        run=row["run"],
        machine=row["machine"],
        smbios_uuid=row["smbios_uuid"],
        disk_guid=row["disk_guid"],
        names=tuple(parse_json(row["names"])),
        serial=row["serial"],
        site=row["site"],
        said_site=row["said_site"],
        everywhere=row["everywhere"],
        second=row["second"],
        contradicted=row["contradicted"],
        station=row["station"],
        last_sequence=row["last_sequence"],
        last_seen=row["last_seen"],
        first=row["first"],
        first_received=row["first_received"],
        bears=row["bears"],
        came=row["came"],
        standing=Standing(**marks),
    )


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
    """The record with the first of its events to arrive, whether it counts or another has its number."""
    for one in arrived:
        if not record.first or one.number < record.first:
            record = replace(record, first=one.number, first_received=one.received, came=one.came)
    return record


@lru_cache(maxsize=50_000)  # every event of a machine asks for all its runs
def _time_of(run: str) -> int:
    """The time in a run's id, by the clock of its machine; 0 where no calendar has it."""
    try:
        return microseconds(moment_of_run(run))
    except ValueError:
        return 0


def merge_names(*groups: Iterable[str]) -> tuple[str, ...]:
    """All the names once, sorted without case, at most sixteen: the first ones, whatever came first."""
    merged: dict[str, str] = {}
    for name in (name.strip() for group in groups for name in group):
        if name:
            key = name_key(name)
            merged[key] = min(name, merged.get(key, name), key=lambda one: (len(one), one))
    return tuple(merged[key] for key in sorted(merged)[:MOST_NAMES])


def _smaller(one: str | None, other: str | None) -> str | None:
    """Of two claims of one run the smaller: a rule that no order of arrival changes."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _valid_guid(text: str | None) -> str | None:
    digits = (text or "").replace("-", "")
    return None if len(set(digits)) < 2 else text
