"""A bar for work of many bytes, at a terminal; a pipe sees nothing of it."""

from __future__ import annotations

import sys
import time

import click

from unbrick.cli.terminal.manners import can_redraw

_EVERY_SECONDS = 0.1
_WIDTH = 30


class ByteBar:
    """Shows what is done and how many bytes of how many, on one line of stderr that is drawn over."""

    def __init__(self) -> None:
        self._watched = can_redraw(sys.stderr)
        self._words = ""
        self._began = self._called = time.monotonic()
        self._drawn = 0.0

    def __call__(self, words: str, done: int, total: int) -> None:
        now = time.monotonic()
        if words != self._words:
            self._words, self._began, self._drawn = words, self._called, 0.0
        self._called = now
        # The end of the work is always drawn: it ends the line.
        if not self._watched or (done < total and now - self._drawn < _EVERY_SECONDS):
            return
        self._drawn = now
        share = done / total if total else 1.0
        filled = int(share * _WIDTH)
        speed = done / 1e6 / max(now - self._began, 0.001)
        bar = "█" * filled + "·" * (_WIDTH - filled)
        line = f"  {words:<12} {bar} {share:4.0%}  {done / 1e6:.0f} of {total / 1e6:.0f} MB, {speed:.0f} MB/s"
        click.echo(f"\r{line}\x1b[K", err=True, nl=done >= total)
