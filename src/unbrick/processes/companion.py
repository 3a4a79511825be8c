"""A process beside the station that does one thing and can never hold up a repair.

Forked from the station while that has one thread, it dies with it; `Child.finish` asks it to finish. What it
reports, it writes into a file in memory.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.processes.child import Child, answer_signals, set_apart


class Orders:
    """What the station asks of it: to finish."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.finish = False

    def wait(self, seconds: float) -> None:
        """Sleep that long, or until it is to finish: the station closes its end, or has died."""
        if select.select([self._connection], [], [], max(0.0, seconds))[0]:
            self.finish = True


def start_companion(life: Callable[[Orders], None]) -> Child:
    """Fork, and live there until `life` returns. Raises OSError."""

    def live(connection: socket.socket) -> None:
        set_apart()
        answer_signals({signal.SIGTERM: signal.SIG_IGN})
        with contextlib.suppress(UnbrickError, OSError):
            life(Orders(connection))

    return Child(live)


def write_word(path: Path, text: str) -> None:
    """Replace the text of a file in memory, whole or not at all; raises OSError."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


def read_word(path: Path) -> str:
    """What a companion wrote last; empty before its first word."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
