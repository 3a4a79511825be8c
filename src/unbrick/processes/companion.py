"""A process beside the station that does one thing of its own and can never hold up a repair.

Forked from the station while that has one thread, it dies with it; `Child.finish` tells it to finish. What it
has to say, it says in a file in memory.
"""

from __future__ import annotations

import contextlib
import select
import signal
import socket
from collections.abc import Callable
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.processes.child import Child, heed, set_apart


class Orders:
    """The companion's ear."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self.finish = False

    def wait(self, seconds: float) -> None:
        """Sleep that long, or until told to finish: the station closes its end, or has died."""
        if select.select([self._connection], [], [], max(0.0, seconds))[0]:
            self.finish = True


def start_companion(life: Callable[[Orders], None]) -> Child:
    """Fork, and live there until `life` returns. Raises OSError."""

    def live(connection: socket.socket) -> None:
        set_apart()
        heed({signal.SIGTERM: signal.SIG_IGN})
        with contextlib.suppress(UnbrickError, OSError):
            life(Orders(connection))

    return Child(live)


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
