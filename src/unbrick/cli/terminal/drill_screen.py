"""What a person sees of a drill: on a terminal the tally's dashboard with the commands below it, else lines.

There is no thread: the screen is drawn anew whenever the drill pauses.
"""

from __future__ import annotations

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click
from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.text import Text

from unbrick.drill.recover import DrillScreen
from unbrick.tally.show.board import Board
from unbrick.tally.show.screen import Dashboard

_SMALLEST = (80, 24)
_GLANCE_SECONDS = 0.1
_REDRAW_SECONDS = 0.5
_LAST_LOOK_SECONDS = 2.0
_MOST_LINES = 500


class PlainLines:
    """Lines on stderr; nothing moves."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check

    def say(self, line: str) -> None:
        click.echo(line, err=True)

    def pause(self) -> None:
        self._check()
        time.sleep(_GLANCE_SECONDS)


class Picture:
    """The dashboard above, the last lines of the log below."""

    def __init__(self, board: Board, lines: list[str]) -> None:
        self._board = board
        self._lines = lines

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or console.height
        below = min(max(height // 3, 6), 16)
        yield Dashboard(self._board, height=height - below, foot="the drill (Ctrl-C stops it)")
        for line in self._lines[-below:]:
            text = Text.from_ansi(line)
            text.truncate(options.max_width)
            yield Segment.line()
            yield from text.render(console)


class LiveScreen:
    """The whole terminal; `said` is printed on the ordinary screen in the end."""

    def __init__(self, live: Live, board: Callable[[], Board], check: Callable[[], None]) -> None:
        self._live = live
        self._check = check
        self._board = board
        self._drawn = 0.0
        self.said: deque[str] = deque(maxlen=_MOST_LINES)

    def say(self, line: str) -> None:
        self.said.extend(line.split("\n"))
        self._draw()

    def pause(self) -> None:
        self._check()
        if time.monotonic() - self._drawn > _REDRAW_SECONDS:
            self._draw()
        time.sleep(_GLANCE_SECONDS)

    def linger(self) -> None:
        """Leave the end on the screen long enough to be seen."""
        self._draw()
        until = time.monotonic() + _LAST_LOOK_SECONDS
        while time.monotonic() < until:
            self.pause()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(Picture(self._board(), list(self.said)), refresh=True)


@contextmanager
def drill_screen(board: Callable[[], Board], check: Callable[[], None]) -> Iterator[DrillScreen]:
    """The live screen on a terminal that is large enough, else plain lines."""
    if not _large_terminal():
        yield PlainLines(check)
        return
    console = Console(stderr=True)
    with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
        screen = LiveScreen(live, board, check)
        try:
            yield screen
            screen.linger()
        finally:
            live.stop()
            for line in screen.said:
                click.echo(line, err=True)


def _large_terminal() -> bool:
    if not (sys.stdout.isatty() and sys.stderr.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return False
    size = os.get_terminal_size(sys.stderr.fileno())
    return size.columns >= _SMALLEST[0] and size.lines >= _SMALLEST[1]
