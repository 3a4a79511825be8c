"""How much one client, one station and all of them together may take of the tally, and the counting."""

from __future__ import annotations

import resource
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from unbrick.wire import MOST_FRAME_BYTES

_OTHER_FILES = 64


@dataclass(frozen=True)
class Limits:
    """The numbers; times are in seconds.

    A medium is copied: many sticks, and every netbooted machine of a site, may share one station's
    certificate, so `sessions_per_station` is generous. `login_seconds` is what a station itself allows
    (`report/client.py`): on a line that loses a fifth of its packets a login takes that long.
    """

    logins_at_once: int = 100
    login_seconds: float = 30.0
    sessions: int = 4000
    sessions_per_station: int = 2500
    frame_bytes: int = MOST_FRAME_BYTES
    frame_seconds: float = 60.0
    idle_seconds: float = 1800.0
    keepalive_seconds: float = 60.0
    events_per_second: float = 1000.0
    events_burst: int = 5000
    events_waiting: int = 20_000
    refusals_per_session: int = 20
    stop_seconds: float = 10.0


class Arrivals:
    """Connections that have not logged in yet: so many; the oldest of the greediest address goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._waiting: dict[Hashable, str] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: Hashable, address: str) -> Hashable | None:
        """Count a new connection; gives the one that must go for it, already uncounted."""
        self._waiting[connection] = address
        if len(self._waiting) <= self._most:
            return None
        greediest = Counter(self._waiting.values()).most_common(1)[0][0]
        oldest = next(one for one, where in self._waiting.items() if where == greediest)
        del self._waiting[oldest]
        return oldest

    def all(self) -> tuple[Hashable, ...]:
        """Everybody who waits, the oldest first."""
        return tuple(self._waiting)

    def leave(self, connection: Hashable) -> None:
        """A connection logged in or went away."""
        self._waiting.pop(connection, None)


class Sessions:
    """The logged-in connections, all and by station."""

    def __init__(self, most: int, most_per_station: int) -> None:
        self._most = most
        self._most_per_station = most_per_station
        self._by_station: Counter[str] = Counter()

    def enter(self, station: str) -> str | None:
        """Count one more, or say why not."""
        if self._by_station.total() >= self._most:
            return "too many sessions at once"
        if self._by_station[station] >= self._most_per_station:
            return "too many sessions of one station at once"
        self._by_station[station] += 1
        return None

    def leave(self, station: str) -> None:
        """One ended."""
        self._by_station[station] -= 1
        if not self._by_station[station]:
            del self._by_station[station]


class Pace:
    """How long to wait so that no more than `per_second` pass in the long run, `burst` at once."""

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._at = clock()

    def take(self, count: int) -> float:
        """Take `count` and give the seconds to wait before going on."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left -= count
        return max(0.0, -self._left / self._per_second)


def sessions_that_fit(limits: Limits) -> int:
    """Raise the process's limit of open files as far as needed, and give the sessions that fit then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.sessions + limits.logins_at_once + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return limits.sessions
    return max(1, min(limits.sessions, soft - limits.logins_at_once - _OTHER_FILES))
