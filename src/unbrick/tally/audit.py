"""The audit log: one line of JSON for every refusal and every change of who is trusted; no secret, no flood.

Where the same thing happens too often from the same address, the rest is counted and told in one line. A
full disk stops nothing: lines wait in memory, the oldest are given up first.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from unbrick.event import moment
from unbrick.files import open_for_owner

_LONGEST_TEXT = 200
_MOST_WAITING = 1000


@dataclass(frozen=True)
class AuditSettings:
    """How much is kept: files of `most_bytes`, `files` of them.

    In `window` seconds `burst` refusals of one kind from one address are told one by one; beyond
    `most_lines` of all kinds, addresses are no longer told apart.
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


class AuditLog:
    """Appends lines; never raises for want of space."""

    def __init__(
        self,
        path: Path,
        settings: AuditSettings = AuditSettings(),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._waiting: deque[bytes] = deque(maxlen=_MOST_WAITING)
        self._floods: dict[tuple[str, str], _Flood] = {}
        self._told = 0

    def refused(self, why: str, *, detail: str = "", where: str = "", who: str = "") -> None:
        """Tell one refusal: why (one of few texts), what exactly, from which `host:port`, as whom."""
        address = where.rpartition(":")[0]
        kind = (why, address if self._told < self._settings.most_lines else "")
        flood = self._floods.setdefault(kind, _Flood(self._clock()))
        flood.count += 1
        if flood.count <= self._settings.burst:
            self._told += 1
            more = {"detail": detail} if detail else {}
            self._write({"what": "refused", "why": why, **more, "from": where, "who": who})

    def tell(self, what: str, **facts: str | int) -> None:
        """Tell one thing that was done or that ails: enrolled, revoked, a full disk, a start."""
        self._write({"what": what, **facts})

    def tick(self) -> None:
        """Sum up floods whose time is over, and write what had to wait; call it about once a second."""
        now = self._clock()
        for kind, flood in list(self._floods.items()):
            if now - flood.since >= self._settings.window:
                self._sum_up(kind, flood)
                del self._floods[kind]
                self._told -= min(flood.count, self._settings.burst)
        self._write_waiting()

    def close(self) -> None:
        """Sum up every flood, whatever its age."""
        for kind, flood in self._floods.items():
            self._sum_up(kind, flood)
        self._floods.clear()

    def _sum_up(self, kind: tuple[str, str], flood: _Flood) -> None:
        more = flood.count - self._settings.burst
        if more > 0:
            why, address = kind
            self._write({"what": "refused", "why": why, "from": address, "who": "", "more": more})

    def _write(self, facts: dict[str, str | int]) -> None:
        at = moment(datetime.fromtimestamp(self._clock(), UTC))
        short = {key: _printable(value) if isinstance(value, str) else value for key, value in facts.items()}
        self._waiting.append(json.dumps({"at": at, **short}, ensure_ascii=True).encode() + b"\n")
        self._write_waiting()

    def _write_waiting(self) -> None:
        if not self._waiting:
            return
        try:
            descriptor = open_for_owner(self._path, os.O_WRONLY | os.O_APPEND)
        except OSError:
            return
        try:
            while self._waiting:
                written = os.write(descriptor, self._waiting[0])
                if written < len(self._waiting[0]):  # the disk is full in the middle of a line
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
                    return
                self._waiting.popleft()
            full = os.fstat(descriptor).st_size >= self._settings.most_bytes
        except OSError:
            return
        finally:
            os.close(descriptor)
        if full:
            self._rotate()

    def _rotate(self) -> None:
        names = [self._path, *(self._numbered(number) for number in range(1, self._settings.files))]
        for older, newer in zip(reversed(names), reversed(names[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)

    def _numbered(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")


def _printable(text: str) -> str:
    shown = "".join(character if character.isprintable() else "�" for character in text[:_LONGEST_TEXT])
    return shown + ("…" if len(text) > _LONGEST_TEXT else "")
