"""A process beside the station that does one thing of its own and can never hold up a repair.

Forked from the station while that has one thread, it dies with it. The end of a socket tells it to finish.
What it has to say, it says in a file in memory.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from unbrick.errors import UnbrickError
from unbrick.processes.libc import signal_at_parents_death

_NICENESS = 5
_LOOK_SECONDS = 0.01


class Orders:
    """The companion's ear."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.finish = False

    def wait(self, seconds: float) -> None:
        """Sleep that long, or until told to finish: the station closes its end, or has died."""
        if select.select([self._connection], [], [], max(0.0, seconds))[0]:
            self.finish = True


class Companion:
    """The station's hold on it; `start` begins its life."""

    def __init__(self, process: int, connection: socket.socket) -> None:
        self._process = process
        self._connection = connection
        self._ended = False

    @classmethod
    def start(cls, life: Callable[[Orders], None]) -> Companion:
        """Fork, and live there until `life` returns. Raises OSError."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        process = os.fork()
        if process == 0:
            ours.close()
            _live(parent, life, Orders(theirs))
        theirs.close()
        return cls(process, ours)

    def finish(self, seconds: float) -> bool:
        """Have it do what is left and end; whether it did so in time. One that hangs is killed."""
        with contextlib.suppress(OSError):
            self._connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + seconds
        while not self._has_ended() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        in_time = self._has_ended()
        if not in_time:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._process, signal.SIGKILL)
        self._connection.close()
        return in_time

    def _has_ended(self) -> bool:
        if not self._ended:
            try:
                self._ended = os.waitpid(self._process, os.WNOHANG)[0] != 0
            except ChildProcessError:
                self._ended = True
        return self._ended


def _live(parent: int, life: Callable[[Orders], None], orders: Orders) -> NoReturn:
    """The companion's whole life: whatever happens ends in `_exit`."""
    try:
        signal_at_parents_death()
        if os.getppid() != parent:  # it ended before that took effect
            os._exit(1)
        os.setsid()
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.nice(_NICENESS)
        with contextlib.suppress(UnbrickError, OSError):
            life(orders)
    finally:
        os._exit(0)


def write_word(path: Path, text: str) -> None:
    """Say something in a file in memory, whole or not at all; raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def read_word(path: Path) -> str:
    """What a companion said last; nothing where it has not said anything yet."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
