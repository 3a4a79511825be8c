"""How a disk's report reads to a person: plain lines, coloured on a terminal only."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping

import click

from unbrick.model import (
    ActionState,
    DiskReport,
    InstallationReport,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.printable import printable

COLOUR = {
    Status.FAILED: "red",
    Status.NEEDS_HANDS: "magenta",
    Status.NEEDS_KEY: "yellow",
    Status.FOUND: "cyan",
    Status.REPAIRED: "green",
    Status.UNDONE: "green",
    Status.HEALTHY: "green",
    Status.SCANNED: "green",
}
_ACTION_WORD = {
    ActionState.PLANNED: "would move",
    ActionState.DONE: "moved to quarantine",
    ActionState.UNDONE: "put back",
    ActionState.FAILED: "could not move",
}
_UNDO_WORD = {
    **_ACTION_WORD,
    ActionState.PLANNED: "would put back",
    ActionState.FAILED: "could not put back",
}
_OPENABLE = {VolumeKind.BITLOCKER, VolumeKind.NTFS}
_KIND_WORD = {VolumeKind.BITLOCKER: "BitLocker", VolumeKind.NTFS: "NTFS", VolumeKind.FAT: "FAT"}
_NEXT_STEP = {
    Status.REPAIRED: "restart this machine into Windows",
    Status.HEALTHY: "no known fault is here; look for the cause elsewhere",
}


def styled_status(status: Status) -> str:
    """A status in capitals and its colour (the terminal's door drops the colour on a pipe)."""
    return click.style(status.value.upper(), fg=COLOUR[status], bold=True)


def _volume_line(volume: Volume) -> str:
    place = f"partition {volume.partition}" if volume.partition is not None else "whole disk"
    facts = [_KIND_WORD.get(volume.kind, volume.kind.value)]
    if volume.method:
        facts[0] += f" {volume.method}"
    if volume.kind in _OPENABLE or volume.state is not VolumeState.OPEN:
        facts.append(volume.state.value)
    if volume.filesystem:
        facts.append(volume.filesystem.value)
    line = f"  {place}: {', '.join(facts)}"
    if volume.description:
        line += f" ({printable(volume.description)})"
    return line


def _volume_lines(report: DiskReport) -> Iterator[str]:
    """Every volume where volumes were asked for, else those that matter to Windows or forbid writing."""
    scanned = report.status is Status.SCANNED
    for volume in report.volumes:
        if scanned or volume.refusal or volume.kind in _OPENABLE:
            yield _volume_line(volume)
        if scanned or (report.status is Status.NEEDS_KEY and volume.state is VolumeState.LOCKED):
            for protector in volume.protectors:
                yield f"    protector {protector.id}  {protector.kind.value}"


def _name(installation: InstallationReport) -> str:
    name = printable(installation.hostname or "a computer without a name")
    return f"{printable(installation.windows or 'Windows')} on {click.style(name, bold=True)}"


def _installation_lines(
    installation: InstallationReport, report: DiskReport, action_word: Mapping[ActionState, str]
) -> Iterator[str]:
    scanned = installation.status is Status.SCANNED
    yield f"  {_name(installation)}" + ("" if scanned else f": {styled_status(installation.status)}")
    said = [finding.explanation for finding in installation.findings]
    if installation.explanation:
        said.append(installation.explanation)
    for sentence in dict.fromkeys(said):
        if report.error is None or sentence not in report.error:  # it is told once, below
            yield f"    {printable(sentence)}"
    for action in installation.actions:
        yield f"    {action_word[action.state]}: {printable(action.path)}"


def plan_lines(report: DiskReport, *, undoing: bool = False) -> Iterator[str]:
    """What somebody is asked to agree to: the machine, each file, and what else would be done."""
    yield f"{printable(report.disk)}:"
    for installation in report.installations:
        if installation.actions:
            yield from _installation_lines(installation, report, _UNDO_WORD if undoing else _ACTION_WORD)
    yield from _note_lines(report)


def _note_lines(report: DiskReport) -> Iterator[str]:
    for note in report.notes:
        yield f"  note: {printable(note)}"


def diagnostic_lines(report: DiskReport) -> Iterator[str]:
    """What a script's log should have beside the JSON document."""
    for note in report.notes:
        yield f"unbrick: {printable(report.disk)}: {printable(note)}"
    if report.hint:
        yield f"unbrick: {printable(report.disk)}: what to do: {printable(report.hint)}"


def report_lines(report: DiskReport, *, undoing: bool = False) -> Iterator[str]:
    """Everything a person should read of one disk, what to do next last."""
    yield f"{printable(report.disk)}: {styled_status(report.status)}"
    yield from _volume_lines(report)
    for installation in report.installations:
        yield from _installation_lines(installation, report, _UNDO_WORD if undoing else _ACTION_WORD)
    yield from _note_lines(report)
    if report.error:
        reason = f" [{report.reason}]" if report.reason else ""
        yield f"  {printable(report.error)}{reason}"
    if todo := _what_to_do(report, undoing=undoing):
        yield f"  what to do: {printable(todo)}"
    states = {action.state for one in report.installations for action in one.actions}
    if report.run and ActionState.DONE in states:
        yield f"  to put it back: unbrick undo {_argument(report.disk)} --run {report.run}"


def _what_to_do(report: DiskReport, *, undoing: bool) -> str | None:
    if report.hint:
        return report.hint
    if report.reason:
        return f"look up {report.reason} in: unbrick help reasons"
    if report.status is Status.FOUND:
        return f"unbrick {'undo' if undoing else 'repair'} {_argument(report.disk)}"
    return _NEXT_STEP.get(report.status)


def _argument(disk: str) -> str:
    """A disk's path as it can be pasted into a shell."""
    return shlex.quote(printable(disk))
