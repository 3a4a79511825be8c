"""The live dashboard: reads a board, draws it, waits for a key or the next second.

One thread and no timer of rich's own; only what changed is written over the old screen, so nothing flickers.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live

from unbrick.errors import UsageError
from unbrick.tally.show.board import Board
from unbrick.tally.show.screen import Dashboard

_EVERY_SECONDS = 1.0
_GLANCE_SECONDS = 0.2
_ENDING = {"q", "Q", "\x04"}


class TerminalKeys:
    """The keyboard of a terminal; without a terminal there are no keys, and only time passes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def wait(self, seconds: float) -> str:
        if not os.isatty(self._descriptor):
            time.sleep(seconds)
            return ""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return ""
        try:
            return os.read(self._descriptor, 1).decode("ascii", "replace") or "q"
        except OSError:  # the terminal hung up: end the view
            return "q"

    @contextmanager
    def key_by_key(self) -> Iterator[None]:
        """Have keys without Enter and without echo; restores the terminal in any case."""
        if not os.isatty(self._descriptor):
            yield
            return
        before = termios.tcgetattr(self._descriptor)
        tty.setcbreak(self._descriptor, termios.TCSANOW)
        try:
            yield
        finally:
            termios.tcsetattr(self._descriptor, termios.TCSANOW, before)


def watch_terminal(read: Callable[[], Board], console: Console) -> None:
    """The dashboard at this program's own terminal, until q, Ctrl-C or a signal to end.

    Raises UsageError where there is no terminal.
    """
    if not console.is_terminal or console.is_dumb_terminal:
        raise UsageError("the live view needs a terminal", hint="for a script: unbrick tally status --json")
    keys = TerminalKeys(sys.stdin.fileno())
    with _ended_by_signals(), keys.key_by_key():
        watch(read, console, keys.wait)


def watch(
    read: Callable[[], Board],
    console: Console,
    wait: Callable[[float], str],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Draw what `read` gives, every second and when the terminal's size changes.

    `wait` is `TerminalKeys.wait`. Ends on q, Ctrl-C, or the end of the keyboard.
    """
    try:
        with Live(console=console, screen=True, auto_refresh=False, vertical_overflow="crop") as live:
            while True:
                board = read()
                drawn = None
                until = clock() + _EVERY_SECONDS
                while (left := until - clock()) > 0:
                    if drawn != console.size:
                        drawn = console.size
                        live.update(Dashboard(board), refresh=True)
                    if wait(min(left, _GLANCE_SECONDS)) in _ENDING:
                        return
    except KeyboardInterrupt:
        return


@contextmanager
def _ended_by_signals() -> Iterator[None]:  # like Ctrl-C, so that the terminal is restored
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    former = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
