"""One machine as it stands when a visit ends: its disks, the worst of them, what else is known. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from unbrick.errors import Reason
from unbrick.events.short_code import short_code
from unbrick.model import (
    Action,
    ActionState,
    DiskReport,
    InstallationReport,
    Machine,
    Status,
    VolumeState,
    worst_status,
)
from unbrick.recovery.outcome import is_excused
from unbrick.station.ending.next_in_windows import as_shown, missing_keys
from unbrick.station.screen.sheet import drawable

NO_DISK = "No disk was found inside this computer."
TROUBLED = {Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY}
_STARTS = {Status.REPAIRED, Status.HEALTHY}


class Colour(StrEnum):
    """The colour of the last screen."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


_COLOUR = {
    Status.FAILED: Colour.RED,
    Status.NEEDS_HANDS: Colour.AMBER,
    Status.NEEDS_KEY: Colour.AMBER,
    Status.FOUND: Colour.AMBER,
    Status.SCANNED: Colour.AMBER,
}


@dataclass(frozen=True)
class EndingFacts:
    """What the station knows besides the reports.

    `finish` is what the settings say: `restart`, `power-off` or `wait` for a key, as every ending does that
    is not green. `restart_way` is `boot-next`, `remove-stick` or `none`. `already` says when and by which
    medium the machine was repaired earlier; `only_looked` why nothing was changed, as half a sentence;
    `report_text` what a person can carry to the tally as a picture, where the reports are only in memory;
    `medium` what is to be taken out: `stick`, `disc`, or nothing where nothing is plugged in (any more);
    `takes_keys` whether a missing recovery key can be brought now, by typing it or on a stick; `hidden_disks`
    how many disks the firmware hides from every Linux; `left_alone` the disks that were not looked at as they
    are plugged in from outside; `contact` the helpdesk's telephone number and name; `missed`
    that a stick's settings should have been read and were not, `late` that they came when others had been.
    """

    finish: str
    restart_way: str
    reports_waiting: int
    reports_on_stick: bool
    tally_known: bool
    already: str | None
    medium_id: str
    only_looked: str | None = None
    report_text: str | None = None
    medium: str = "stick"
    takes_keys: bool = False
    hidden_disks: int = 0
    left_alone: tuple[str, ...] = ()
    contact: str | None = None
    missed: bool = False
    late: bool = False


@dataclass(frozen=True)
class Case:
    """`worst` is the disk that decides, `name` how the machine is called, `code` is for its sticker."""

    reports: tuple[DiskReport, ...]
    facts: EndingFacts
    status: Status
    worst: DiskReport
    name: str
    code: str

    @property
    def colour(self) -> Colour:
        """Green only where nothing is left for a person to do."""
        return Colour.GREEN if self.already else _COLOUR.get(self.status, Colour.GREEN)

    @property
    def already(self) -> bool:
        """Whether nothing had to be done as an earlier visit had done it."""
        return bool(self.facts.already) and self.status in {Status.HEALTHY, Status.SCANNED}

    @property
    def troubled(self) -> bool:
        return self.status in TROUBLED and not self.already

    @property
    def starts(self) -> bool:
        return self.already or self.status in _STARTS

    @property
    def found_no_windows(self) -> bool:
        return self.status is Status.NEEDS_HANDS and _is_for_data(self.worst)

    @property
    def is_hidden(self) -> bool:
        """Whether its Windows may be on a disk that the firmware hides."""
        return self.found_no_windows and self.facts.hidden_disks > 0

    @property
    def done(self) -> list[Action]:
        """What was done, on any disk."""
        installations = [one for report in self.reports for one in report.installations]
        return [action for one in installations for action in one.actions if action.state is ActionState.DONE]

    @property
    def was_changed(self) -> bool:
        return bool(self.done)

    @property
    def missing_keys(self) -> list[str]:
        """The ids of the recovery keys that are missing, as Windows shows them."""
        locked = self.status is Status.NEEDS_KEY
        return list(dict.fromkeys(map(as_shown, missing_keys(self.reports)))) if locked else []


def case_of(reports: tuple[DiskReport, ...], facts: EndingFacts) -> Case:
    """The case of one machine; no report means that no disk was found, unless it was repaired already."""
    if not reports:
        nothing = DiskReport(disk="", status=Status.SCANNED) if facts.already else no_disk(Machine())
        reports = (nothing,)
    deciding = _deciding(reports)
    status = worst_status(report.status for report in deciding)
    worst = next(report for report in deciding if report.status is status)
    # Most is known of the disk with the Windows on it, which need not be the worst one.
    named = sorted(reports, key=lambda one: (not one.machine.hostnames, one is not worst))
    machines = [report.machine for report in named]
    machine = Machine(
        smbios_uuid=next((one.smbios_uuid for one in machines if one.smbios_uuid), None),
        serial=next((one.serial for one in machines if one.serial), None),
        disk_guid=next((one.disk_guid for one in machines if one.disk_guid), None),
        hostnames=machines[0].hostnames,
    )
    run = next((report.run for report in named if report.run), facts.medium_id)
    if machine.hostnames:
        name = drawable(machine.hostnames[0])
    else:
        name = f"Serial {drawable(machine.serial)}" if machine.serial else "No name"
    return Case(reports, facts, status, worst, name, short_code(machine, run))


def already_repaired(report: DiskReport) -> str | None:
    """When and by which medium an earlier run repaired a disk (`2026-11-25 by medium 01234567`)."""
    earlier = report.repaired_before
    if earlier is None:
        return None
    by = f" by medium {earlier.medium[:8]}" if earlier.medium else ""
    return f"{earlier.when[:10]}{by}"


def already_done(reports: Sequence[DiskReport]) -> str | None:
    """`EndingFacts.already`: the same for the whole machine, only where nothing had to be done now."""
    if not reports or any(one.status not in {Status.HEALTHY, Status.NEEDS_HANDS} for one in reports):
        return None
    said = [already_repaired(report) for report in reports if report.status is Status.HEALTHY]
    return next((one for one in said if one), None)


def no_disk(machine: Machine, run: str | None = None) -> DiskReport:
    return DiskReport("", Status.NEEDS_HANDS, Reason.NO_WINDOWS, run, machine, error=NO_DISK)


def _deciding(reports: tuple[DiskReport, ...]) -> tuple[DiskReport, ...]:
    """The disks that count: where one has a Windows, those that only hold data do not."""
    found = [one for report in reports for one in report.installations]
    if not found:
        return reports
    return tuple(report for report in reports if not _is_for_data(report, found))


def _is_for_data(report: DiskReport, found: Sequence[InstallationReport] = ()) -> bool:
    """Whether nothing is wrong with a disk but that it has no Windows, or a lock with none behind it."""
    if report.installations:
        return False
    if report.status is Status.NEEDS_KEY:
        locked = [volume for volume in report.volumes if volume.state is VolumeState.LOCKED]
        return bool(locked) and all(is_excused(volume, found) for volume in locked)
    return report.status is Status.NEEDS_HANDS and report.reason in {Reason.NO_WINDOWS, Reason.EMPTY_DISK}
