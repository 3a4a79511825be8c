"""The audit log: a line of JSON for every change of trust and every act of a person; no secret, no flood.

Refusals are caused by strangers and have a log of their own, so that strangers cannot push the history of
persons out. Where the same thing happens too often from one address, the rest is counted and written as one
line a minute; so are the sessions of one station. A full disk stops nothing: lines use the reserve
(`tally/free_space.py`); refusals wait in memory, and the oldest are dropped first.
"""

from __future__ import annotations

import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick.events.event import moment
from unbrick.files import is_disk_full, opened_for_owner
from unbrick.tally.free_space import give_way
from unbrick.tally.networks import network_of
from unbrick.text import printable

REFUSALS = "refusals.log"
_LONGEST_TEXT = 200
_LONGEST_REASON = 1000  # of a person, which is kept whole
_MOST_WAITING = 1000
_SESSIONS_WRITTEN = 5
_LEVELS = {
    "storing-failed": logging.ERROR,
    "room-short": logging.ERROR,
    "budget-spent": logging.ERROR,
    "budgets-recounted": logging.WARNING,
}

Log = Callable[[int, str], None]


@dataclass(frozen=True)
class AuditSettings:
    """Each of the two logs keeps `files` files of `most_bytes`.

    In `window` seconds `burst` refusals of one kind from one address get a line each; beyond `most_lines` of
    all kinds, addresses are not told apart.
    """

    most_bytes: int = 10 * 1024 * 1024
    files: int = 5
    burst: int = 20
    window: float = 60.0
    most_lines: int = 1000


@dataclass
class _Flood:
    since: float
    count: int = 0
    events: int = 0


class AuditLog:
    """Appends lines to `path` and, for refusals, to a file beside it; never raises for want of space.

    `log` gets each line as a sentence, with a level of `logging`.
    """

    def __init__(
        self,
        path: Path,
        settings: AuditSettings = AuditSettings(),
        clock: Callable[[], float] = time.time,
        log: Log = lambda *_: None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._log = log
        self._audit_lines = _Lines(path, settings, urgent=True)
        self._refused_lines = _Lines(path.with_name(REFUSALS), settings, urgent=False)
        self._floods: dict[tuple[str, str], _Flood] = {}
        self._sessions: dict[tuple[str, str], _Flood] = {}
        self._refusals_written = 0

    def refused(self, why: str, *, detail: str = "", where: str = "", who: str = "") -> None:
        """Write a refusal: why (one of few texts), what exactly, from which `host:port`, as whom."""
        address = where.rpartition(":")[0]
        source = network_of(address) if ":" in address else address
        kind = (why, source if self._refusals_written < self._settings.most_lines else "")
        flood = self._floods.setdefault(kind, _Flood(self._clock()))
        flood.count += 1
        if flood.count <= self._settings.burst:
            self._refusals_written += 1
            more = {"detail": detail} if detail else {}
            self._refuse({"what": "refused", "why": why, **more, "from": where, "who": who})

    def session(self, station: str, *, where: str, seconds: int, events: int, refused: int) -> None:
        facts = {"seconds": seconds, "events": events, "refusals": refused}
        self.of_station("session", station, events, {"from": where, **facts})

    def of_station(self, what: str, station: str, events: int, facts: Mapping[str, str | int]) -> None:
        """Write what a station may do as often as it likes: a few lines, and one a minute for the rest."""
        flood = self._sessions.setdefault((what, station), _Flood(self._clock()))
        flood.count += 1
        if flood.count <= _SESSIONS_WRITTEN:
            self.tell(what, station=station, **facts)
        else:
            flood.events += events

    def tell(self, what: str, **facts: str | int) -> None:
        """Write one thing that was done or is wrong: enrolled, revoked, a full disk, a start."""
        line = {"what": what, **facts}
        self._audit_lines.write(self._line(line))
        self._log(_LEVELS.get(what, logging.INFO), _sentence(line))

    def tick(self) -> None:
        """Sum up floods whose time is over, and write what had to wait; call it about once a second."""
        self._sum_up(self._settings.window)
        self._audit_lines.flush()
        self._refused_lines.flush()

    def close(self) -> None:
        self._sum_up(-math.inf)

    def _sum_up(self, least_age: float) -> None:
        now = self._clock()
        for (why, address), flood in list(self._floods.items()):
            if now - flood.since >= least_age:
                more = flood.count - self._settings.burst
                if more > 0:
                    self._refuse({"what": "refused", "why": why, "from": address, "who": "", "more": more})
                del self._floods[why, address]
                self._refusals_written -= min(flood.count, self._settings.burst)
        for (what, station), flood in list(self._sessions.items()):
            if now - flood.since >= least_age:
                more = flood.count - _SESSIONS_WRITTEN
                if more > 0:
                    self.tell(what, station=station, more=more, events=flood.events)
                del self._sessions[what, station]

    def _refuse(self, facts: dict[str, str | int]) -> None:
        self._refused_lines.write(self._line(facts))
        self._log(logging.WARNING, _sentence(facts))

    def _line(self, facts: Mapping[str, str | int]) -> bytes:
        at = moment(datetime.fromtimestamp(self._clock(), UTC))
        short = {
            key: _shown(value, _LONGEST_REASON if key == "reason" else _LONGEST_TEXT)
            if isinstance(value, str)
            else value
            for key, value in facts.items()
        }
        return json.dumps({"at": at, **short}, ensure_ascii=True).encode() + b"\n"


class _Lines:
    """A log file that rotates; what cannot be written waits in memory. `urgent` lines may use the reserve."""

    def __init__(self, path: Path, settings: AuditSettings, *, urgent: bool) -> None:
        self._path = path
        self._settings = settings
        self._urgent = urgent
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)

    def write(self, line: bytes) -> None:
        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        while self._waiting and not self._write_waiting():
            if not self._urgent or not give_way(self._path.parent):
                return

    def _write_waiting(self) -> bool:
        """False where the disk is full; after any other error the next line tries again."""
        try:
            with opened_for_owner(self._path, os.O_WRONLY | os.O_APPEND) as descriptor:
                while self._waiting:
                    written = os.write(descriptor, self._waiting[0])
                    if written < len(self._waiting[0]):  # the disk is full in the middle of a line
                        os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                        return False
                    self._waiting.popleft()
                full = os.fstat(descriptor).st_size >= self._settings.most_bytes
        except OSError as error:
            return not is_disk_full(error)
        if full:
            with suppress(OSError):  # rather a file that grows than a lost line
                self._rotate()
        return True

    def _rotate(self) -> None:
        names = [self._path, *(self._numbered(number) for number in range(1, self._settings.files))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            with suppress(FileNotFoundError):
                newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _sentence(facts: Mapping[str, str | int]) -> str:
    """A line of the audit as the service's log shows it: `refused: no SSH from=10.0.0.7:5`."""
    what, rest = facts["what"], {key: value for key, value in facts.items() if key != "what"}
    first = rest.pop("why", None) or rest.pop("text", None)
    said = [f"{what}: {first}" if first else f"{what}:"]
    said += [f"{key}={value}" for key, value in rest.items() if value != ""]
    return _shown(" ".join(said).rstrip(":"), 2 * _LONGEST_TEXT)


def _shown(text: str, most: int = _LONGEST_TEXT) -> str:
    return printable(text[:most], "\N{REPLACEMENT CHARACTER}") + ("…" if len(text) > most else "")
