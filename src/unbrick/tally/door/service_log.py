"""The log of `serve`: sentences on stderr for a service manager; serving never waits for it.

Under journald each line begins with its priority, such as `<6>`, and journald adds the time; elsewhere it
begins with the time. Where stderr is not read, lines are dropped and counted.
"""

from __future__ import annotations

import logging
import os
import select
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from unbrick.events.event import EventKind
from unbrick.tally.records import ReceivedEvent
from unbrick.text import counted, printable

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6), (logging.DEBUG, 7))
_LONGEST_LINE = 1000
_MOST_REMEMBERED = 20_000


class ServiceLog:
    """Writes lines of at least `level` to a descriptor; call it with a level and a text."""

    def __init__(self, level: int, descriptor: int, environment: Mapping[str, str] = os.environ) -> None:
        self._level = level
        self._descriptor = descriptor
        self._journal = goes_to_journal(descriptor, environment)
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self._lost = 0

    def __call__(self, level: int, text: str) -> None:
        if level < self._level:
            return
        if self._lost:
            were = "was not read and is" if self._lost == 1 else "were not read and are"
            lines = f"{counted(self._lost, 'line')} of this log {were} lost"
            if not self._write(logging.WARNING, lines):
                self._lost += 1
                return
            self._lost = 0
        if not self._write(level, text):
            self._lost += 1

    def _write(self, level: int, text: str) -> bool:
        priority = next((number for least, number in _PRIORITIES if level >= least), 7)
        start = f"<{priority}>" if self._journal else f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} "
        line = (start + printable(text, " ")).encode(errors="replace")[:_LONGEST_LINE] + b"\n"
        try:  # a server must not wait for a slow reader
            if not any(events & select.POLLOUT for _, events in self._poll.poll(0)):
                return False
            os.write(self._descriptor, line)
        except OSError:
            return False
        return True


class VisitLog:
    """Logs what each machine's run ended with: once, also where a station sends it again."""

    def __init__(self, log: Callable[[int, str], None]) -> None:
        self._log = log
        self._logged: dict[str, None] = {}

    def stored(self, batch: Sequence[ReceivedEvent], new: int) -> None:
        """A batch is durable; `new` of its events were not known before."""
        for one in batch if new else ():
            event = one.event
            if event.kind != EventKind.OUTCOME or event.run in self._logged:
                continue
            self._logged[event.run] = None
            if len(self._logged) > _MOST_REMEMBERED:
                del self._logged[next(iter(self._logged))]
            name = next(iter(event.machine.hostnames), event.machine.disk_guid or "a machine without a name")
            ended = " ".join(str(event.details.get(key) or "") for key in ("status", "reason")).strip()
            self._log(
                logging.INFO, f"visit counted: {name} {ended} site={event.site or ''} station={one.station}"
            )


def goes_to_journal(descriptor: int, environment: Mapping[str, str]) -> bool:
    """Whether a descriptor is journald's; systemd.exec(5) describes the test."""
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return (device, inode) == (str(found.st_dev), str(found.st_ino))
