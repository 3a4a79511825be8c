"""What the last screen says: its colour, the machine, what to do, what Windows shows, what IT wants to know.

Pure: concluded from the reports and from what the station knows; draws nothing. What becomes of the computer
is decided in `instruction`, and everything here agrees with that.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from unbrick.errors import Reason
from unbrick.manual.reasons import explain
from unbrick.model import DiskReport, ProtectorKind, Status, Verdict, VolumeKind
from unbrick.station.ending.case import NO_DISK, Case, Colour, EndingFacts, case_of
from unbrick.station.ending.instruction import Instruction, Then, instruction_for
from unbrick.station.ending.next_in_windows import (
    after_repair,
    is_suspended,
    recovery_key_ids,
    waited_for,
    windows_volumes,
)
from unbrick.station.screen.sheet import drawable

MISSED = "The stick's settings could not be read: next time leave it in until this screen comes."
LATE = "The settings on a stick came too late and were not used. They are read only at the beginning."
_MOST_LEFT_ALONE = 2
_MEDIUM_SHOWN = 8
_LONGEST_ERROR = 180
_LONGEST_QR = 1200


@dataclass(frozen=True)
class Ending:
    """The last screen in words.

    `code` is for a sticker; `key_ids` are those of the recovery keys that are missing, to be read out;
    `contact` is whom to call, where somebody has to be called; `qr` the text of the picture to photograph.
    """

    colour: Colour
    headline: str
    summary: str
    machine: str
    code: str
    instruction: Instruction
    next_in_windows: tuple[str, ...]
    to_do: tuple[str, ...]
    helpdesk: tuple[str, ...]
    qr: str | None
    key_ids: tuple[str, ...] = ()
    contact: str | None = None


@dataclass(frozen=True)
class Meaning:
    """One reason in words.

    `what` it is and what `to_do` are for the person at the machine, who has never seen it: short sentences,
    no word of the trade. `helpdesk` has the trade's words.
    """

    what: str
    to_do: str
    helpdesk: str


_BY_STATUS: dict[Status, Meaning] = {
    Status.FAILED: Meaning("Something went wrong.", "It may work at another try.", "The work failed."),
    Status.NEEDS_HANDS: Meaning(
        "A person has to look at this computer.",
        "A person from IT has to look at this computer.",
        "Nothing is written here without a person.",
    ),
}


def meaning_of(status: Status, reason: str | None) -> Meaning:
    """The words of the manual's page `reasons` for a troubled disk; of its status for a reason unknown here.

    A reason may carry a detail (`foreign-encryption:luks`).
    """
    explained = explain(reason or "")
    if explained is None and status is Status.NEEDS_KEY:
        explained = explain(Reason.KEY_MISSING)
    if explained is None:
        return _BY_STATUS.get(status, _BY_STATUS[Status.NEEDS_HANDS])
    return Meaning(explained.what, explained.at_the_machine, explained.for_it)


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
    Status.UNDONE: "The repair was taken back: the disk is as it was before, with the fault.",
    Status.HEALTHY: "This computer does not have the fault. If it does not start, the cause is another one.",
}
_ONLY_LOOKED = {
    Status.FOUND: "The fault is on this computer",
    Status.SCANNED: "This computer was only looked at",
}
_HIDDEN = Meaning(
    "The disk of this computer is hidden: its storage mode is RAID.",
    "Before the next try, set the storage mode to AHCI in the computer's own setup (often F2). "
    "Set it back before Windows starts.",
    "The SATA controller hides an NVMe disk (Intel RST, no VMD), for which Linux has no driver.",
)


def ending_of(reports: Sequence[DiskReport], facts: EndingFacts) -> Ending:
    """The last screen for these disks of one machine: of several the worst counts, and all are listed.

    A disk for data beside the one with Windows is no trouble, as a data volume beside it is none.
    No disk at all means that none was found, unless `facts.already` says why none was looked at.
    """
    case = case_of(tuple(reports), facts)
    instruction = instruction_for(case)
    waits_in_memory = facts.reports_waiting > 0 and not facts.reports_on_stick
    return Ending(
        colour=case.colour,
        headline="ALREADY DONE" if case.already else _HEADLINE[case.status],
        summary=_summary(case),
        machine=case.name,
        code=case.code,
        instruction=instruction,
        next_in_windows=tuple(_next_in_windows(case, instruction)),
        to_do=(*_to_do(case, instruction, waits_in_memory), instruction.sentence),
        helpdesk=tuple(_helpdesk(case)),
        qr=_picture(case) if waits_in_memory else None,
        key_ids=tuple(case.missing_keys),
        contact=None if case.starts else facts.contact,
    )


def _meaning(case: Case) -> Meaning:
    if case.status is Status.NEEDS_KEY and not case.missing_keys:
        return _only_way_in(case.reports)
    return _HIDDEN if case.is_hidden else meaning_of(case.status, case.worst.reason)


_ONLY_WAYS = {
    ProtectorKind.PASSPHRASE: "Only the password that its owner knows opens it, and only in Windows.",
    ProtectorKind.STARTUP_KEY: "Only the USB stick with its startup key opens it, and only in Windows.",
    ProtectorKind.SMART_CARD: "Only its owner's card opens it, and only in Windows.",
}


def _only_way_in(reports: Sequence[DiskReport]) -> Meaning:
    kinds = {one.kind for volume in waited_for(reports) for one in volume.protectors}
    way = next(
        (said for kind, said in _ONLY_WAYS.items() if kind in kinds), "Only its own computer opens it."
    )
    return Meaning(
        "This disk is locked, and it has no recovery key.",
        way,
        "BitLocker: the volume has no recovery password; add one in Windows (manage-bde -protectors -add).",
    )


def _summary(case: Case) -> str:
    if case.already:
        return f"This computer was already repaired: {case.facts.already}."
    if case.troubled:
        if not case.worst.disk and not case.is_hidden:
            return NO_DISK
        partly = case.status is Status.NEEDS_HANDS and case.was_changed
        done = f"{_what_was_done(case, 'partly')} Something else is left: " if partly else ""
        return done + _meaning(case).what
    if case.status is Status.REPAIRED:
        return _what_was_done(case, "repaired")
    if case.status not in _ONLY_LOOKED:
        return _SUMMARY[case.status]
    what, untouched = _ONLY_LOOKED[case.status], "Nothing was changed"
    if case.was_changed:  # on another disk
        what, untouched = f"{what}, on one of its disks", "That disk was left as it was"
    why = f": {case.facts.only_looked}" if case.facts.only_looked else ""
    return f"{what}. {untouched}{why}."


def _what_was_done(case: Case, word: Literal["repaired", "partly"]) -> str:
    """What the kinds of the actions that were done say of them."""
    # Loaded here: the first screen does not wait for it.
    from unbrick.repair.actions.kinds import KINDS

    done = {action.kind for action in case.done}
    return " ".join(getattr(kind.WORDS, word) for name, kind in KINDS.items() if name in done or not done)


def _next_in_windows(case: Case, instruction: Instruction) -> Iterator[str]:
    """What Windows will do, as far as the disk tells; where it is not to start next, only what was done."""
    installations = [one for report in case.reports for one in report.installations]
    faulty = any(finding.verdict is Verdict.FAULTY for one in installations for finding in one.findings)
    if case.starts:
        first, *more = after_repair(case.reports)
        yield f"Once it is switched on again: {first}" if instruction.powers_off else first
        yield from more
    elif case.status is Status.UNDONE:
        yield "Windows is as it was before the repair: it will stop again."
    elif instruction.then is not Then.WINDOWS:
        unsure = case.status is Status.FAILED
        untouched = "Until that is done, Windows may not start." if unsure else "Nothing was changed."
        yield "A part was repaired." if case.was_changed else untouched
    elif case.was_changed:
        yield "A part was repaired: Windows may start, or stop as before."
    elif case.status is Status.FAILED:
        yield "Windows may not start."
    elif faulty:
        yield "Windows will stop as it did before."
    else:
        yield "Nothing was changed: Windows starts, or stops, as it did before."


def _to_do(case: Case, instruction: Instruction, waits_in_memory: bool) -> Iterator[str]:
    """What a person does before the instruction is followed."""
    if case.facts.missed:
        yield MISSED
    elif case.facts.late:
        yield LATE
    if case.status is Status.NEEDS_KEY and case.troubled:
        yield _key_to_find(case)
    elif case.troubled:
        yield _meaning(case).to_do
        yield from _left_alone(case)
    if not case.starts and not case.missing_keys:
        again = instruction.then is Then.STICK_AGAIN
        call = "If this screen comes back, call the helpdesk" if again else "Call the helpdesk"
        yield f"{call} and say the sticker code {case.code}."
    if waits_in_memory:
        yield "Press the right arrow key. Photograph each square code, and send it to the helpdesk."
    elif case.facts.reports_waiting:
        yield "Keep this stick: the report on this computer is on it and was not sent yet."


def _key_to_find(case: Case) -> str:
    """What to ask the helpdesk for, where the disk tells which key it is."""
    ids = case.missing_keys
    if not ids:
        return _meaning(case).to_do
    then = "It is typed at the next try."
    if case.facts.takes_keys:
        then = "Then press Enter, then 1, and type it. Or put in a stick that has it: it is used by itself."
    return f"Call the helpdesk: ask for the recovery key {' or '.join(ids[:2])} (48 digits). {then}"


def _left_alone(case: Case) -> Iterator[str]:
    """The disks that nobody looked at, where the Windows that was not found may be on one of them."""
    disks = case.facts.left_alone
    if disks and case.found_no_windows:
        more = f" and {len(disks) - _MOST_LEFT_ALONE} more" if len(disks) > _MOST_LEFT_ALONE else ""
        yield (
            f"Plugged in from outside, and so left alone: {', '.join(disks[:_MOST_LEFT_ALONE])}{more}. "
            "IT can repair a Windows there at another computer."
        )


def _helpdesk(case: Case) -> Iterator[str]:
    """What IT wants to know: which machine, how it ended, what is known of its keys."""
    facts, worst = case.facts, case.worst
    serial = f", serial {worst.machine.serial}" if worst.machine.serial else ""
    yield f"Computer {case.name}, sticker code {case.code}{serial}."
    reason = f" ({worst.reason})" if worst.reason else ""
    if facts.already:
        yield f"Repaired before: {facts.already}. Now: {case.status}{reason}."
    elif case.starts and facts.tally_known and not facts.reports_waiting:
        yield f"Result: {case.status}{reason}. The tally knows it already."
    else:
        yield f"Result: {case.status}{reason}."
    if case.troubled:
        yield _meaning(case).helpdesk
        if worst.error:
            whole = len(worst.error) <= _LONGEST_ERROR
            yield f"It says: {worst.error if whole else worst.error[: _LONGEST_ERROR - 3] + '...'}"
    yield from _about_the_lock(case)
    if len(case.reports) > 1:
        listed = (
            f"{one.disk} {one.status}" + (f" ({one.reason})" if one.reason else "") for one in case.reports
        )
        yield f"Disks: {', '.join(listed)}."
    runs = ", ".join(report.run for report in case.reports if report.run)
    yield f"Stick {facts.medium_id[:_MEDIUM_SHOWN]}." + (f" Run {runs}." if runs else "")


def _picture(case: Case) -> str:
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


def _about_the_lock(case: Case) -> Iterator[str]:
    """Which recovery key belongs to this machine, should Windows or the next visit ask for it."""
    if case.status is Status.NEEDS_KEY:
        if ids := case.missing_keys:
            yield f"Recovery key ID: {', '.join(ids)}."
        return
    volumes = [one for one in windows_volumes(case.reports) if one.kind is VolumeKind.BITLOCKER]
    ids = [key for volume in volumes for key in recovery_key_ids(volume.protectors)]
    if ids and case.starts:
        yield f"Should Windows ask for a recovery key, its ID is {' or '.join(ids)}."
    if any(is_suspended(volume) for volume in volumes):
        yield "BitLocker is suspended here: resume it (manage-bde -protectors -enable C:)."
