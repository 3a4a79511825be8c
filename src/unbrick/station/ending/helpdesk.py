"""What IT wants to know of a machine: the last part of an ending, and the picture to photograph. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from unbrick.model import Status, VolumeKind
from unbrick.station.ending.case import Case
from unbrick.station.ending.next_in_windows import is_suspended, recovery_key_ids, windows_volumes
from unbrick.station.screen.sheet import drawable

_MEDIUM_SHOWN = 8
_LONGEST_ERROR = 180
_LONGEST_QR = 1200


def helpdesk_sentences(case: Case, meaning: str) -> Iterator[str]:
    """Which machine, how it ended and what is known of its keys; `meaning` is what a trouble means to IT."""
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
        yield meaning
        if worst.error:
            yield f"It says: {_clipped(worst.error)}"
    yield from _about_the_lock(case)
    if len(case.reports) > 1:
        listed = (
            f"{one.disk} {one.status}" + (f" ({one.reason})" if one.reason else "") for one in case.reports
        )
        yield f"Disks: {', '.join(listed)}."
    yield f"Stick {facts.medium_id[:_MEDIUM_SHOWN]}." + _runs(case)


def picture_text(case: Case) -> str:
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


def _runs(case: Case) -> str:
    runs = [report.run for report in case.reports if report.run]
    return f" Run {', '.join(runs)}." if runs else ""


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


def _clipped(text: str) -> str:
    return text if len(text) <= _LONGEST_ERROR else text[: _LONGEST_ERROR - 3] + "..."
