"""One run, folded from its events: what it learned of its machine, and how it stands. Pure.

Every part is a maximum, a minimum or a union, so the order of arrival does not matter; of two events with
the same number only one may be folded (`counting.py` chooses).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from unbrick.event import Event
from unbrick.identity import valid_serial, valid_smbios_uuid
from unbrick.model import Machine
from unbrick.short_code import plain_code, short_code
from unbrick.standing import MachineStatus, Mark, Standing, mark_of
from unbrick.tally.names import name_key

_MOST_NAMES = 16
_LONGEST_REASON = 100
_PARTS = ("proof", "look", "state")


@dataclass(frozen=True)
class RunRecord:
    """What the events of one run add up to. Times are microseconds; `names` are sorted without case.

    `machine` is the key of the row it counts for, `""` before that is known. `first` is the number under
    which the first of its events arrived.
    """

    run: str
    machine: str = ""
    smbios_uuid: str | None = None
    disk_guid: str | None = None
    names: tuple[str, ...] = ()
    serial: str | None = None
    site: str | None = None
    station: str = ""
    last_sequence: int = 0
    last_seen: int = 0
    first: int = 0
    standing: Standing = field(default_factory=Standing)

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
        """Those of its standing, with its station."""
        return tuple(replace(mark, station=self.station) for mark in self.standing.marks)

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
            "site": self.site,
            "station": self.station,
            "last_sequence": self.last_sequence,
            "last_seen": self.last_seen,
            "first": self.first,
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
        names=tuple(json.loads(row["names"])),
        serial=row["serial"],
        site=row["site"],
        station=row["station"],
        last_sequence=row["last_sequence"],
        last_seen=row["last_seen"],
        first=row["first"],
        standing=Standing(**marks),
    )


def fold_run(
    record: RunRecord, event: Event, station: str, received: int, number: int, *, carried: bool = False
) -> RunRecord:
    """The record after one more event of its run, as the `number`-th to arrive; times in microseconds."""
    mark = mark_of(event)
    standing = record.standing
    if mark is not None:
        standing = standing.after(replace(mark, received=0 if carried else received, number=number))
    latest = event.sequence > record.last_sequence
    return replace(
        record,
        smbios_uuid=_smaller(record.smbios_uuid, valid_smbios_uuid(event.machine.smbios_uuid)),
        disk_guid=_smaller(record.disk_guid, _valid_guid(event.machine.disk_guid)),
        names=merge_names(record.names, event.machine.hostnames),
        serial=_smaller(record.serial, valid_serial(event.machine.serial)),
        site=event.site if latest else record.site,
        station=station if latest else record.station,
        last_sequence=max(record.last_sequence, event.sequence),
        last_seen=max(record.last_seen, received),
        first=min(record.first, number) if record.first else number,
        standing=standing,
    )


def merge_names(*groups: Iterable[str]) -> tuple[str, ...]:
    """All the names once, sorted without case, at most sixteen: the first ones, whatever came first."""
    merged: dict[str, str] = {}
    for name in (name.strip() for group in groups for name in group):
        if name:
            key = name_key(name)
            merged[key] = min(name, merged.get(key, name), key=lambda one: (len(one), one))
    return tuple(merged[key] for key in sorted(merged)[:_MOST_NAMES])


def shown_reason(reason: str) -> str:
    """A reason as it is counted and shown: one short printable line."""
    return "".join(c if c.isprintable() else " " for c in reason[:_LONGEST_REASON]).strip()


def _smaller(one: str | None, other: str | None) -> str | None:
    """Of two claims of one run the smaller: a rule that no order of arrival changes."""
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)


def _valid_guid(text: str | None) -> str | None:
    digits = (text or "").replace("-", "")
    return None if len(set(digits)) < 2 else text
