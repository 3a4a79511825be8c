"""How a machine's row comes about: from its runs, the inventory's line and what a person said. Pure.

The same functions serve the counting and the recount that checks it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unbrick.standing import MachineStatus, Mark, Standing
from unbrick.tally.names import name_key, serial_key
from unbrick.tally.records import FINISHED, NAMED, Basis, Statement
from unbrick.tally.runs import RunRecord, merge_names, shown_reason

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Runs:
    """What the runs of one machine say together."""

    key: str
    names: tuple[str, ...]
    serial: str | None
    disk_guid: str | None
    site: str | None
    last_seen: int
    mark: Mark | None
    counted: RunRecord

    @property
    def name_keys(self) -> frozenset[str]:
        """Every computer name of the machine, as they are compared."""
        return frozenset(map(name_key, self.names))

    @property
    def serial_key(self) -> str | None:
        """The serial number as it is compared."""
        return serial_key(self.serial) if self.serial else None


def gather(key: str, runs: Sequence[RunRecord]) -> Runs:
    """Fold the runs of one machine (at least one, in any order)."""
    in_order = sorted(runs, key=lambda one: one.run)
    standing = Standing(
        **{
            part: max((mark for one in runs if (mark := getattr(one.standing, part))), default=None)
            for part in ("proof", "look", "state")
        }
    )
    mark = standing.mark
    counted = next((one for one in in_order if mark and one.run == mark.run), in_order[-1])
    return Runs(
        key=key,
        names=merge_names(*(one.names for one in runs)),
        serial=_last(one.serial for one in in_order),
        disk_guid=_last(one.disk_guid for one in in_order),
        site=_last(one.site for one in in_order),
        last_seen=max(one.last_seen for one in runs),
        mark=mark,
        counted=counted,
    )


def expectation_of(machine: Runs, by_name: Mapping[str, Row], by_serial: Mapping[str, Row]) -> Row | None:
    """The inventory's line for a machine: by the first of its names that has one, else by serial number."""
    for name in sorted(machine.name_keys):
        if name in by_name:
            return by_name[name]
    return by_serial.get(machine.serial_key or "")


def latest_statement(names: Sequence[str], statements: Mapping[str, Row]) -> Row | None:
    """The last thing a person said under any of these names."""
    found = [statements[name] for name in names if name in statements]
    return max(found, key=lambda one: int(one["number"]), default=None)


def person_counts(statement: Row | None, mark: Mark | None, arrived: int) -> bool:
    """Whether a person's word counts before what the machine showed.

    It does until somebody looks inside the machine again: an event that arrived later, with a repair, an
    undo, a finding or a clean bill. What was seen alive in Windows is not made less so by the latter two
    good ones.
    """
    if statement is None or not statement["status"]:
        return False
    if mark is None or arrived <= statement["at"]:
        return True
    ends = {MachineStatus.FOUND, MachineStatus.UNDONE}
    if statement["status"] != Statement.CONFIRMED:
        ends |= {MachineStatus.REPAIRED, MachineStatus.HEALTHY}
    return mark.status not in ends


def machine_row(machine: Runs, expectation: Row | None, statement: Row | None) -> dict[str, Any]:
    """The row of a machine that has reported."""
    line = expectation or {}
    mark = machine.mark
    arrived = machine.counted.arrival_of(mark) if mark else machine.last_seen
    row = _row(machine.key, _shown_name(machine, line), line)
    row["site"] = line.get("site") or machine.site or ""
    row["serial"] = machine.serial or line.get("serial")
    row["serial_key"] = machine.serial_key
    row["last_seen"] = machine.last_seen
    if person_counts(statement, mark, arrived):
        assert statement is not None
        return _stated(row, statement)
    row["status"] = (mark.status if mark else MachineStatus.SEEN).value
    row["reason"] = shown_reason(mark.reason) if mark else ""
    row["basis"] = Basis.PROVED.value
    row["run"] = machine.counted.run
    row["station"] = machine.counted.station
    row["finished_at"] = arrived if row["status"] in FINISHED else None
    return row


def named_row(name: str, expectation: Row | None, statement: Row | None) -> dict[str, Any] | None:
    """The row of a name that no machine has reported under; None where nobody speaks of it (any more)."""
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
        "key": key,
        "name": name,
        "name_key": name_key(name),
        "status": "",
        "basis": "",
        "reason": "",
        "site": "",
        "service": line.get("service"),
        "priority": line.get("priority"),
        "owner": line.get("owner"),
        "serial": None,
        "serial_key": None,
        "run": None,
        "station": None,
        "last_seen": None,
        "marked_by": None,
        "marked_at": None,
        "finished_at": None,
    }


def _stated(row: dict[str, Any], statement: Row) -> dict[str, Any]:
    row["status"] = statement["status"]
    row["basis"] = Basis.MARKED.value
    row["reason"] = statement["reason"]
    row["marked_by"] = statement["who"]
    row["marked_at"] = statement["at"]
    row["finished_at"] = statement["at"] if row["status"] in FINISHED else None
    return row


def _shown_name(machine: Runs, line: Row) -> str:
    if line and line["name_key"] in machine.name_keys:
        return str(line["name"])
    known = (*machine.names[:1], line.get("name"), machine.serial, machine.disk_guid)
    return str(next((one for one in known if one), machine.key.partition(":")[2]))


def _last(values: Any) -> str | None:
    return next((one for one in reversed(list(values)) if one), None)
