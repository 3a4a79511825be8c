"""What a person at a terminal sees while a disk is worked on; a pipe sees nothing of it."""

from __future__ import annotations

import sys
import time

import click

from unbrick.event import Event, EventKind

_WORDS = {
    "discover": "looking at the disk",
    "unlock": "unlocking BitLocker",
    "find-windows": "looking for Windows",
    "diagnose": "looking for the fault",
    "plan": "planning",
    "repair": "taking the fault away",
    "undo": "putting back",
    "purge": "deleting the quarantine",
    "verify": "checking the repair",
}


class TerminalProgress:
    """A listener that writes one line a step to stderr: what, and how long it took."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Show one event, if it is a step's start or end."""
        if event.step is None:
            return
        words = _WORDS.get(event.step, event.step)
        where = event.details.get("partition")
        if where is not None:
            words += f" (partition {where})"
        if event.kind == EventKind.STEP_STARTED:
            self._started[event.step] = time.monotonic()
            click.echo(f"  {words} …\r", err=True, nl=False)
            return
        seconds = time.monotonic() - self._started.get(event.step, time.monotonic())
        ended = event.kind == EventKind.STEP_ENDED
        mark = click.style("✓", fg="green") if ended else click.style("✗", fg="red")
        click.echo(f"{mark} {words}  {seconds:.1f} s", err=True)


def terminal_listeners() -> tuple[TerminalProgress, ...]:
    """The progress display where a person watches (stderr is a terminal), else none."""
    return (TerminalProgress(),) if sys.stderr.isatty() else ()
