"""How a disk's report reads to a person: plain lines, coloured on a terminal only."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator

import click

from unbrick.model import (
    Action,
    ActionState,
    DiskReport,
    EarlierRun,
    InstallationReport,
    RunState,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery.case import Goal
from unbrick.repair.actions.kinds import KINDS
from unbrick.text import printable

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
_PURGE_WORD = {
    ActionState.PLANNED: "would be deleted for good",
    ActionState.DONE: "deleted for good",
    ActionState.FAILED: "could not be deleted",
}
_OPENABLE = {VolumeKind.BITLOCKER, VolumeKind.NTFS}
_KIND_WORD = {VolumeKind.BITLOCKER: "BitLocker", VolumeKind.NTFS: "NTFS", VolumeKind.FAT: "FAT"}
_NEXT_STEP = {
    Status.REPAIRED: "restart this machine into Windows",
    Status.HEALTHY: "no known fault is here; look for the cause elsewhere",
    Status.NEEDS_KEY: "find the recovery password of the protector that is named, and give it with --keys",
    Status.NEEDS_HANDS: "look at this disk by hand; nothing more is done to it from here",
    Status.FAILED: "run it again; where it fails again, copy the disk before anything else is tried",
}

Command = Callable[[str, str], str]


def plain(verb: str, disk: str) -> str:
    """A command line for a disk, to paste into a shell."""
    return f"unbrick {verb} {shlex.quote(printable(disk))}"


def styled_status(status: Status) -> str:
    """A status in capitals and its colour; `click.echo` drops the colour on a pipe."""
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
    """Every volume after a scan, else those that matter to Windows or forbid writing."""
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


def _word(action: Action, goal: Goal) -> str:
    if goal is Goal.PURGE:
        return _PURGE_WORD[action.state]
    words = KINDS[action.kind].WORDS
    return (words.undo if goal is Goal.UNDO else words.repair)[action.state]


def _installation_lines(installation: InstallationReport, report: DiskReport, goal: Goal) -> Iterator[str]:
    scanned = installation.status is Status.SCANNED
    yield f"  {_name(installation)}" + ("" if scanned else f": {styled_status(installation.status)}")
    planned = report.agreed and installation.actions  # then its plan was just shown
    said = [] if planned else [finding.explanation for finding in installation.findings]
    if installation.explanation:
        said.append(installation.explanation)
    for sentence in dict.fromkeys(said):
        if report.error is None or sentence not in report.error:  # it is told once, below
            yield f"    {printable(sentence)}"
    for action in installation.actions:
        yield f"    {_word(action, goal)}: {printable(action.path)}"


def plan_lines(report: DiskReport, goal: Goal) -> Iterator[str]:
    """What a person is asked to agree to: the machine, each file, and what else would be done."""
    yield f"{printable(report.disk)}:"
    for installation in report.installations:
        if installation.actions:
            yield from _installation_lines(installation, report, goal)
    yield from _note_lines(report)
    if goal is Goal.UNDO:
        yield "  Windows will show its fault again when it starts."
    if goal is Goal.PURGE:
        yield "  What is deleted cannot be put back, and this repair can never be undone."


def _note_lines(report: DiskReport) -> Iterator[str]:
    for note in report.notes:
        yield f"  note: {printable(note)}"


def diagnostic_lines(report: DiskReport) -> Iterator[str]:
    """What goes to stderr beside the JSON document."""
    for note in report.notes:
        yield f"unbrick: {printable(report.disk)}: {printable(note)}"
    if report.hint:
        yield f"unbrick: {printable(report.disk)}: what to do: {printable(report.hint)}"


def declined_lines(report: DiskReport, *, goal: Goal, command: Command) -> Iterator[str]:
    """The answer to a person who has just seen the plan and said no."""
    yield f"{printable(report.disk)}: {styled_status(report.status)}; nothing was written"
    yield from _error_lines(report)
    if todo := _what_to_do(report, goal, command):
        yield f"  what to do: {printable(todo)}"


def _earlier_line(run: EarlierRun) -> str:
    word = "repaired" if run.state is RunState.REPAIRED else "put back"
    by = f" (by medium {run.medium})" if run.medium else ""
    return f"  {word} on {run.when_in_words} by run {run.run}{by}"


def report_lines(report: DiskReport, *, goal: Goal = Goal.REPAIR, command: Command = plain) -> Iterator[str]:
    """A disk's report, what to do next last; `command` gives the command line for a verb and a disk."""
    yield f"{printable(report.disk)}: {styled_status(report.status)}"
    yield from _volume_lines(report)
    for installation in report.installations:
        yield from _installation_lines(installation, report, goal)
    if report.earlier and report.earlier.run != report.run:
        yield printable(_earlier_line(report.earlier))
    yield from _note_lines(report)
    yield from _error_lines(report)
    if todo := _what_to_do(report, goal, command):
        yield f"  what to do: {printable(todo)}"
    states = {action.state for one in report.installations for action in one.actions}
    if report.run and ActionState.DONE in states and goal is Goal.REPAIR:
        yield f"  to put it back: {command('undo', report.disk)} --run {report.run}"


def _error_lines(report: DiskReport) -> Iterator[str]:
    if report.error:
        reason = f" [{report.reason}]" if report.reason else ""
        yield f"  {printable(report.error)}{reason}"


def _look_up(report: DiskReport) -> str | None:
    return f"look it up: unbrick help {report.reason.partition(':')[0]}" if report.reason else None


def _what_to_do(report: DiskReport, goal: Goal, command: Command) -> str | None:
    if todo := report.hint or _look_up(report):
        return todo
    if report.status is Status.FOUND and goal in {Goal.UNDO, Goal.PURGE}:
        return f"{command(goal.value, report.disk)}{f' --run {report.run}' if report.run else ''}"
    if report.status is Status.FOUND:
        return command("repair", report.disk)
    if report.status is Status.UNDONE:
        return f"Windows shows its fault again; to take that away: {command('repair', report.disk)}"
    if report.status is Status.HEALTHY and report.repaired_before:
        return "restart this machine into Windows; where that still fails, it has another cause"
    return _NEXT_STEP.get(report.status)


def run_lines(report: DiskReport) -> Iterator[str]:
    """The runs whose journals are on a disk."""
    count = f"{len(report.runs) or 'no'} run{'' if len(report.runs) == 1 else 's'}"
    if report.status is Status.SCANNED:
        yield f"{printable(report.disk)}: {count}"
    else:
        yield f"{printable(report.disk)}: {f'{count}: ' if report.runs else ''}{styled_status(report.status)}"
    for run in report.runs:
        program = f"unbrick {run.program}" + (f" on medium {run.medium}" if run.medium else "")
        word = "repaired" if run.state is RunState.REPAIRED else "put back"
        yield printable(f"  {run.run}: {word} on {run.when_in_words}; the repair was by {program}")
        for action in run.actions:
            yield f"    {KINDS[action.kind].WORDS.listed[action.state]}: {printable(action.path)}"
    yield from _note_lines(report)
    yield from _error_lines(report)
    if todo := report.hint or _look_up(report):
        yield f"  what to do: {printable(todo)}"
