"""What the last screen says: its colour, the machine, what Windows shows next, what to tell the helpdesk.

Pure: concluded from the reports and from what the station knows; draws nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from unbrick.errors import Reason
from unbrick.model import (
    ActionState,
    DiskReport,
    Machine,
    Status,
    Verdict,
    VolumeKind,
    VolumeState,
    worst_status,
)
from unbrick.outcome import may_hold_windows
from unbrick.short_code import short_code
from unbrick.station.next_in_windows import (
    after_repair,
    as_shown,
    is_suspended,
    missing_keys,
    recovery_key_ids,
    windows_volumes,
)
from unbrick.station.sheet import drawable
from unbrick.station.words import Meaning, meaning_of

_MEDIUM_SHOWN = 8
_LONGEST_ERROR = 180
_LONGEST_QR = 1200


class Colour(StrEnum):
    """The colour of the last screen."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True)
class EndingFacts:
    """What the station knows besides the reports.

    `finish` is what the settings say: `restart`, `power-off` or `wait` for a key, as every ending does that
    is not green. `restart_way` is `boot-next`, `remove-stick` or `none`. `already` says when and by which
    medium the machine was repaired earlier; `only_looked` why nothing was changed, as half a sentence;
    `report_text` what a person can carry to the tally as a picture, where the reports are only in memory;
    `medium` what is to be taken out: `stick`, `disc`, or nothing where nothing is plugged in (any more);
    `takes_keys` whether a missing recovery key can be brought now, by typing it or on a stick; `hidden_disks`
    how many disks the firmware hides from every Linux.
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


@dataclass(frozen=True)
class Ending:
    """The last screen in words. `code` is for a sticker; `qr` the text of the picture to photograph."""

    colour: Colour
    headline: str
    summary: str
    machine: str
    code: str
    next_in_windows: tuple[str, ...]
    to_do: tuple[str, ...]
    helpdesk: tuple[str, ...]
    qr: str | None


_COLOUR = {
    Status.FAILED: Colour.RED,
    Status.NEEDS_HANDS: Colour.AMBER,
    Status.NEEDS_KEY: Colour.AMBER,
    Status.FOUND: Colour.AMBER,
    Status.SCANNED: Colour.AMBER,
}
_HEADLINE = {
    Status.FAILED: "FAILED",
    Status.NEEDS_HANDS: "HELP NEEDED",
    Status.NEEDS_KEY: "KEY NEEDED",
    Status.FOUND: "FAULT FOUND",
    Status.REPAIRED: "DONE",
    Status.UNDONE: "PUT BACK",
    Status.HEALTHY: "NO FAULT",
    Status.SCANNED: "ONLY LOOKED",
}
_SUMMARY = {
    Status.REPAIRED: "The faulty file was taken away. Nothing was deleted, and it can be put back.",
    Status.UNDONE: "The repair was taken back: the disk is as it was before, with the fault.",
    Status.HEALTHY: "This computer does not have the fault. If it does not start, the cause is another one.",
    Status.FOUND: "The fault is on this computer. Nothing was changed.",
    Status.SCANNED: "This computer was looked at. Nothing was changed.",
}
_ENTER = "Press Enter: the computer restarts."
_NO_DISK = "No disk was found in this computer."
_HIDDEN = Meaning(
    "The disk of this computer is hidden: its storage mode is RAID.",
    "In the computer's own setup (often F2), set the storage mode to AHCI and start from the stick again. "
    "Set it back before Windows starts.",
    "The SATA controller hides an NVMe disk (Intel RST, no VMD), for which Linux has no driver.",
)
_TROUBLED = {Status.FAILED, Status.NEEDS_HANDS, Status.NEEDS_KEY}
_STARTS = {Status.REPAIRED, Status.HEALTHY}


@dataclass(frozen=True)
class _Case:
    """One machine at its end: its disks, the worst of them, and how it is called."""

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
        """Whether nothing had to be done because an earlier visit had done it."""
        return bool(self.facts.already) and self.status in {Status.HEALTHY, Status.SCANNED}

    @property
    def is_hidden(self) -> bool:
        """Whether the Windows that was not found may be on a disk that the firmware hides."""
        looked_for = self.status is Status.NEEDS_HANDS and _is_for_data(self.worst)
        return looked_for and self.facts.hidden_disks > 0

    @property
    def starts(self) -> bool:
        return self.already or self.status in _STARTS


def ending_of(reports: Sequence[DiskReport], facts: EndingFacts) -> Ending:
    """The last screen for these disks of one machine: of several the worst counts, and all are listed.

    A disk for data beside the one with Windows is no trouble, as a data volume beside it is none.
    No disk at all means that none was found, unless `facts.already` says why none was looked at.
    """
    case = _case(tuple(reports) or _no_disk(facts), facts)
    waits_in_memory = facts.reports_waiting > 0 and not facts.reports_on_stick
    return Ending(
        colour=case.colour,
        headline="ALREADY DONE" if case.already else _HEADLINE[case.status],
        summary=_summary(case),
        machine=case.name,
        code=case.code,
        next_in_windows=_next_in_windows(case),
        to_do=tuple(_to_do(case, waits_in_memory)),
        helpdesk=tuple(_helpdesk(case)),
        qr=_qr_text(case) if waits_in_memory else None,
    )


def _no_disk(facts: EndingFacts) -> tuple[DiskReport, ...]:
    if facts.already:
        return (DiskReport(disk="", status=Status.SCANNED),)
    return (no_disk(Machine()),)


def no_disk(machine: Machine, run: str | None = None) -> DiskReport:
    """What is said of a machine that shows no disk."""
    return DiskReport("", Status.NEEDS_HANDS, Reason.NO_WINDOWS, run, machine, error=_NO_DISK)


def _case(reports: tuple[DiskReport, ...], facts: EndingFacts) -> _Case:
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
    return _Case(reports, facts, status, worst, name, short_code(machine, run))


def _deciding(reports: tuple[DiskReport, ...]) -> tuple[DiskReport, ...]:
    """The disks that say how it went: where one has a Windows, those that only hold data do not."""
    if not any(report.installations for report in reports):
        return reports
    return tuple(report for report in reports if not _is_for_data(report))


def _is_for_data(report: DiskReport) -> bool:
    """Whether nothing is wrong with a disk but that it holds no Windows, or a lock with none behind it."""
    if report.installations:
        return False
    if report.status is Status.NEEDS_KEY:
        locked = [volume for volume in report.volumes if volume.state is VolumeState.LOCKED]
        return bool(locked) and not any(may_hold_windows(volume) for volume in locked)
    return report.status is Status.NEEDS_HANDS and report.reason in {Reason.NO_WINDOWS, Reason.EMPTY_DISK}


def _meaning(case: _Case) -> Meaning:
    return _HIDDEN if case.is_hidden else meaning_of(case.status, case.worst.reason)


def _summary(case: _Case) -> str:
    if case.already:
        return f"This computer was already repaired: {case.facts.already}."
    if case.status in _TROUBLED:
        return _NO_DISK if not case.worst.disk and not case.is_hidden else _meaning(case).what
    if case.facts.only_looked:
        found = "The fault is on this computer" if case.status is Status.FOUND else "It was looked at"
        return f"{found}. Nothing was changed: {case.facts.only_looked}."
    return _SUMMARY[case.status]


def _next_in_windows(case: _Case) -> tuple[str, ...]:
    if case.starts:
        return after_repair(case.reports)
    if case.status is Status.UNDONE:
        return ("Windows is as it was before the repair: it will stop again.",)
    done = any(
        action.state is ActionState.DONE
        for report in case.reports
        for installation in report.installations
        for action in installation.actions
    )
    if done:
        return ("A part was repaired: Windows may start, or stop as before.",)
    if case.status is Status.FAILED:
        return ("Windows may not start.",)
    installations = [one for report in case.reports for one in report.installations]
    if any(finding.verdict is Verdict.FAULTY for one in installations for finding in one.findings):
        return ("Windows will stop as it did before.",)
    return ("Nothing was changed: Windows starts, or stops, as it did before.",)


def _to_do(case: _Case, waits_in_memory: bool) -> Iterator[str]:
    facts = case.facts
    if case.status in _TROUBLED and not case.already:
        yield _key_to_find(case) or _meaning(case).to_do
    if not case.starts and case.status is not Status.NEEDS_KEY:
        yield f"Call the helpdesk and say the code {case.code}."
    if waits_in_memory:
        yield "Press the right arrow key. Photograph each square code, and send it to the helpdesk."
    elif facts.reports_waiting:
        yield "Keep this stick: the report on this computer is on it and was not sent yet."
    if case.status is Status.NEEDS_KEY and facts.takes_keys and _missing_keys(case):
        yield "Without the key: press Enter, then 2. The computer restarts."
        return
    yield _ending_sentence(facts, waits=case.colour is not Colour.GREEN or facts.finish == "wait")


def _key_to_find(case: _Case) -> str | None:
    """What to ask the helpdesk for, where the disk tells which key it is."""
    if case.status is not Status.NEEDS_KEY:
        return None
    ids = _missing_keys(case)
    if not ids:
        return "Only its own computer opens this disk. Leave it as it is, and call the helpdesk."
    then = "start from the stick again and type it."
    if case.facts.takes_keys:
        then = "press Enter, then 1, and type it. Or put in a stick that has it: it is used by itself."
    return f"Call the helpdesk: ask for the recovery key {' or '.join(ids[:2])} (48 digits). Then {then}"


def _missing_keys(case: _Case) -> list[str]:
    return [as_shown(key) for key in missing_keys(case.reports)]


def _ending_sentence(facts: EndingFacts, *, waits: bool) -> str:
    """What happens now by itself, and what becomes of the stick or disc that is plugged in."""
    out = f"Take the {facts.medium} out" if facts.medium else ""
    if waits:
        return f"{out}, then press Enter: the computer restarts." if out else _ENTER
    if facts.finish == "power-off":
        return f"The computer switches itself off. {out}{'.' if out else ''}".rstrip()
    if out and facts.restart_way == "remove-stick":
        return f"{out} now: the computer then restarts by itself."
    return f"{out}{'. ' if out else ''}The computer restarts by itself."


def _helpdesk(case: _Case) -> Iterator[str]:
    facts, worst = case.facts, case.worst
    serial = f", serial {worst.machine.serial}" if worst.machine.serial else ""
    yield f"Computer {case.name}, code {case.code}{serial}."
    reason = f" ({worst.reason})" if worst.reason else ""
    if facts.already:
        yield f"Repaired before: {facts.already}. Now: {case.status}{reason}."
    elif case.starts and facts.tally_known and not facts.reports_waiting:
        yield f"Result: {case.status}{reason}. The tally knows it already."
    else:
        yield f"Result: {case.status}{reason}."
    if case.status in _TROUBLED:
        yield _meaning(case).helpdesk
        if worst.error:
            yield f"It says: {_clipped(worst.error)}"
    yield from _about_the_lock(case)
    if len(case.reports) > 1:
        listed = (
            f"{one.disk} {one.status}" + (f" ({one.reason})" if one.reason else "") for one in case.reports
        )
        yield f"Disks: {', '.join(listed)}."
    yield f"Stick {facts.medium_id[:_MEDIUM_SHOWN]}." + _runs(case)


def _runs(case: _Case) -> str:
    runs = [report.run for report in case.reports if report.run]
    return f" Run {', '.join(runs)}." if runs else ""


def _about_the_lock(case: _Case) -> Iterator[str]:
    """Which recovery key belongs to this machine, should Windows or the next visit ask for it."""
    if case.status is Status.NEEDS_KEY:
        if ids := _missing_keys(case):
            yield f"Recovery key ID: {', '.join(ids)}."
        return
    volumes = [one for one in windows_volumes(case.reports) if one.kind is VolumeKind.BITLOCKER]
    ids = [key for volume in volumes for key in recovery_key_ids(volume.protectors)]
    if ids and case.starts:
        yield f"Should Windows ask for a recovery key, its ID is {' or '.join(ids)}."
    if any(is_suspended(volume) for volume in volumes):
        yield "BitLocker is suspended here: resume it (manage-bde -protectors -enable C:)."


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 3] + "..."


def _qr_text(case: _Case) -> str:
    """What is photographed: the reports themselves where they are short enough, else who and what."""
    if case.facts.report_text and len(case.facts.report_text) <= _LONGEST_QR:
        return case.facts.report_text
    lines = [f"UNBRICK {case.code} {case.name}"]
    for one in case.reports:
        disk = one.disk.removeprefix("/dev/")
        lines.append(" ".join(filter(None, (disk, one.status, one.reason, one.run))))
    serial = case.worst.machine.serial
    lines.append(f"stick {case.facts.medium_id[:_MEDIUM_SHOWN]}" + (f" serial {serial}" if serial else ""))
    return "\n".join(drawable(line) for line in lines)[:_LONGEST_QR]
