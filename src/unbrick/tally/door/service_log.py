"""The log of `serve`: sentences on stderr, as a service manager likes them; serving never waits for it.

Under journald each line begins with its priority, `<6>` for one, and journald has the time; elsewhere it
begins with the time. Where nobody reads stderr, lines are given up and counted.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Mapping
from datetime import UTC, datetime

from unbrick.text import printable

LEVELS = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
_LONGEST_LINE = 1000


class ServiceLog:
    """Writes lines to a descriptor, from the level on that was asked for."""

    def __init__(self, level: int, descriptor: int, environment: Mapping[str, str] = os.environ) -> None:
        self._level = level
        self._descriptor = descriptor
        self._journal = goes_to_journal(descriptor, environment)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def __call__(self, level: int, text: str) -> None:
        """Write one line; control characters have no place in it."""
        if level < self._level:
            return
        if self._lost:
            if not self._write(logging.WARNING, f"{self._lost} lines of this log were not read and are lost"):
                self._lost += 1
                return
            self._lost = 0
        if not self._write(level, text):
            self._lost += 1

    def _write(self, level: int, text: str) -> bool:
        """False where the reader does not keep up: a server must not wait for it."""
        shown = printable(text, " ")
        priority = next((number for least, number in _PRIORITIES if level >= least), 7)
        start = f"<{priority}>" if self._journal else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
        line = (start + shown).encode(errors="replace")[:_LONGEST_LINE] + b"\n"
        try:
            if not any(events & select.POLLOUT for _, events in self._poll.poll(0)):
                return False
            os.write(self._descriptor, line)
        except OSError:
            return False
        return True


def goes_to_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether a descriptor is journald's, as systemd.exec(5) says that one finds out."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
