"""The step that a disk is in, shown at a terminal until it ends; on a pipe only with `--verbose`."""

from __future__ import annotations

import sys
import time
from typing import TextIO, cast

import click

from unbrick.cli.terminal.manners import can_redraw, session
from unbrick.events.event import Event, EventKind, Listener
from unbrick.text import counted

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
_ERASE = "\r\x1b[2K"


class TerminalProgress:
    """A listener that shows each step on a line of stderr that is drawn over; with `keep` it stays."""

    def __init__(self, *, keep: bool) -> None:
        self._keep = keep
        self._redraws = can_redraw(sys.stderr)
        self._started: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        if event.step is None:
            return
        words = _WORDS.get(event.step, event.step)
        where = event.details.get("partition")
        if where is not None:
            words += f" (partition {where})"
        if event.kind == EventKind.STEP_STARTED:
            self._started[event.step] = time.monotonic()
            if self._redraws:
                click.echo(f"{_ERASE}  {words} …", err=True, nl=False, color=True)
            elif not self._keep:
                click.echo(f"  {words} …", err=True)
            return
        if event.kind == EventKind.NOTE:
            if self._redraws:
                tried = counted(event.details.get("tried", 0), "password")
                click.echo(f"{_ERASE}  {words}, {tried} tried …", err=True, nl=False, color=True)
            return
        erase_progress()
        if self._keep:
            seconds = time.monotonic() - self._started.get(event.step, time.monotonic())
            ended = event.kind == EventKind.STEP_ENDED
            mark = click.style("✓", fg="green") if ended else click.style("✗", fg="red")
            click.echo(f"{mark} {words}  {seconds:.1f} s", err=True)


def erase_progress() -> None:
    """Erase the line of the present step; call it before anything else is written."""
    if can_redraw(sys.stderr):
        click.echo(_ERASE, err=True, nl=False, color=True)


class _Below:
    """A stream that erases the line of the step before each write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        erase_progress()
        return self._stream.write(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def below_progress(stream: TextIO) -> TextIO:
    """The stream on which to ask a person in the middle of a step."""
    return cast("TextIO", _Below(stream))


def step_listeners() -> tuple[Listener, ...]:
    """The terminal, where a person watches or `--verbose` is given, and the log."""
    shown = sys.stderr.isatty() or session.verbose
    progress = (TerminalProgress(keep=session.verbose),) if shown else ()
    return (*progress, session.log) if session.log is not None else progress
