"""How a disk's report reads to a person: plain lines, coloured on a terminal only."""

from __future__ import annotations

from collections.abc import Iterator

import click

from unbrick.model import ActionState, DiskReport, InstallationReport, Status, Volume, VolumeKind

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


def printable(text: str) -> str:
    """Text from a disk or a file, safe for a terminal: control characters become `?`."""
    return "".join(c if c.isprintable() else "?" for c in text)


def styled_status(status: Status) -> str:
    """A status in capitals and its colour (the terminal's door drops the colour on a pipe)."""
    return click.style(status.value.upper(), fg=COLOUR[status], bold=True)


def _volume_line(volume: Volume) -> str:
    place = f"partition {volume.partition}" if volume.partition is not None else "whole disk"
    what = volume.kind.value
    if volume.kind is VolumeKind.BITLOCKER:
        what = f"BitLocker {volume.method or ''}".strip()
    facts = [what, volume.state.value]
    if volume.filesystem:
        facts.append(f"NTFS {volume.filesystem.value}")
    line = f"  {place}: {', '.join(facts)}"
    if volume.description:
        line += f" ({printable(volume.description)})"
    return line


def _protector_lines(volume: Volume) -> Iterator[str]:
    for protector in volume.protectors:
        yield f"    protector {protector.id}  {protector.kind.value}"


def _installation_lines(installation: InstallationReport) -> Iterator[str]:
    name = printable(installation.hostname or "a computer without a name")
    windows = printable(installation.windows or "Windows")
    yield f"  {windows} on {click.style(name, bold=True)}: {styled_status(installation.status)}"
    for finding in installation.findings:
        yield f"    {printable(finding.explanation)}"
    if installation.explanation and not installation.findings:
        yield f"    {printable(installation.explanation)}"
    for action in installation.actions:
        yield f"    {_ACTION_WORD[action.state]}: {printable(action.path)}"


def report_lines(report: DiskReport) -> Iterator[str]:
    """Everything a person should read of one disk."""
    yield f"{printable(report.disk)}: {styled_status(report.status)}"
    for volume in report.volumes:
        yield _volume_line(volume)
        if report.status in {Status.SCANNED, Status.NEEDS_KEY}:
            yield from _protector_lines(volume)
    for installation in report.installations:
        yield from _installation_lines(installation)
    for note in report.notes:
        yield f"  note: {printable(note)}"
    if report.error:
        reason = f" [{report.reason}]" if report.reason else ""
        yield f"  {printable(report.error)}{reason}"
    if report.hint:
        yield f"  what to do: {printable(report.hint)}"
    if report.status is Status.REPAIRED and report.run:
        yield f"  to put it back: unbrick undo {printable(report.disk)} --run {report.run}"
