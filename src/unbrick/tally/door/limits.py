"""How much one client, one station and all of them together may take of the tally, and the counting."""

from __future__ import annotations

import asyncio
import resource
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

from unbrick.errors import FailedError
from unbrick.events.wire import MOST_ASKS_AT_ONCE, MOST_FRAME_BYTES

_OTHER_FILES = 28
_FEWEST_CONNECTIONS = 16
_FEW_FILES = 1024


@dataclass(frozen=True)
class Limits:
    """The numbers; times are in seconds.

    A medium is copied: many sticks, and every netbooted machine of a site, may share one station's
    certificate, so `sessions_per_station` is generous. `login_seconds` is what a station itself allows
    (`report/session.py`): on a line that loses a fifth of its packets a login takes that long.

    The paces (`logins_…`, `events_…`, `bytes_…`) are of a station, over all its connections; one that would
    wait longer than `pace_seconds` is asked to try later. Asks have their own pace: a station with many
    reports can still ask. `frames_bytes` limits the memory for frames that are not whole, not read or not
    answered yet, of all sessions together.
    """

    logins_at_once: int = 512
    accepts_at_once: int = 64
    login_bytes: int = 64 * 1024
    login_seconds: float = 30.0
    sessions: int = 4000
    sessions_per_station: int = 2500
    frame_bytes: int = MOST_FRAME_BYTES
    frame_seconds: float = 60.0
    idle_seconds: float = 1800.0
    keepalive_seconds: float = 60.0
    frames_bytes: int = 64 * 1024 * 1024
    logins_per_second: float = 40.0
    logins_burst: int = 300
    events_per_second: float = 500.0
    events_burst: int = 5000
    events_in_hand: int = 512
    bytes_per_second: float = 1024 * 1024.0
    bytes_burst: int = 16 * 1024 * 1024
    pace_seconds: float = 10.0
    asks_per_second: float = 20.0
    asks_burst: int = 500
    asks_in_hand: int = 2 * MOST_ASKS_AT_ONCE
    ask_seconds: float = 60.0
    events_waiting: int = 20_000
    refusals_per_session: int = 20
    stop_seconds: float = 10.0


class Sessions:
    """Counts the logged-in connections, all and by station."""

    def __init__(self, most: int, most_per_station: int) -> None:
        self._most = most
        self._most_per_station = most_per_station
        self._by_station: Counter[str] = Counter()

    def enter(self, station: str) -> str | None:
        if self._by_station.total() >= self._most:
            return "too many sessions at once"
        if self._by_station[station] >= self._most_per_station:
            return "too many sessions of one station at once"
        self._by_station[station] += 1
        return None

    def leave(self, station: str) -> None:
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

    def take(self, count: float) -> float:
        """Take `count`; gives the seconds to wait before going on."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left -= count
        return max(0.0, -self._left / self._per_second)

    def give_back(self, count: float) -> None:
        self._left += count


class Turn:
    """Lets only so much of one station be worked on at a time, in the order of arrival."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def of(self, count: int) -> AsyncIterator[None]:
        """Wait for a turn for `count`, and have it while the block lasts."""
        count = min(max(count, 1), self._most)
        if self._waiting or count > self._left:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((count, turn))
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._leave(count)
                raise
        else:
            self._left -= count
        try:
            yield
        finally:
            self._leave(count)

    def _leave(self, count: int) -> None:
        self._left += count
        while self._waiting and (self._waiting[0][1].cancelled() or self._waiting[0][0] <= self._left):
            wanted, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._left -= wanted
                turn.set_result(None)


class StationPace:
    """The paces of one station, over all its connections; they go on when the last one has ended."""

    def __init__(self, limits: Limits) -> None:
        self.logins = Pace(limits.logins_per_second, limits.logins_burst)
        self.events = Pace(limits.events_per_second, limits.events_burst)
        self.bytes = Pace(limits.bytes_per_second, limits.bytes_burst)
        self.asks = Pace(limits.asks_per_second, limits.asks_burst)
        self.turn = Turn(limits.events_in_hand)


class FramesInMemory:
    """The bytes of frames that wait in memory, by station and session; of too much, the greediest must go.

    A dropped frame is not lost: the station got no acknowledgement for it, and sends it again.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.held = 0
        self._totals: Counter[str] = Counter()
        self._sessions: dict[str, dict[Hashable, int]] = {}

    def hold(self, station: str, session: Hashable, count: int) -> Hashable | None:
        """Set how much a session holds; gives the session that must drop its frame, if one must."""
        of_station = self._sessions.setdefault(station, {})
        more = count - of_station.get(session, 0)
        self.held += more
        self._totals[station] += more
        if count:
            of_station[session] = count
        else:
            of_station.pop(session, None)
        if not of_station:
            del self._sessions[station], self._totals[station]
        if self.held <= self._most:
            return None
        greediest = self._sessions[max(self._totals, key=self._totals.__getitem__)]
        return max(greediest, key=greediest.__getitem__)


def fitted_to_files(limits: Limits) -> Limits:
    """Raise the process's limit of open files as far as needed, and reduce the connections to what it allows.

    Raises FailedError where hardly any would fit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limits.sessions + limits.logins_at_once + limits.accepts_at_once + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return limits
    accepts = min(limits.accepts_at_once, 8 if soft < _FEW_FILES else 64)
    room = soft - _OTHER_FILES - accepts
    if room < _FEWEST_CONNECTIONS:
        raise FailedError(
            f"this process may open only {soft} files at once, too few to serve a tally",
            hint=f"allow at least {_OTHER_FILES + accepts + _FEWEST_CONNECTIONS}, better 8192: "
            "ulimit -n 8192, or LimitNOFILE=8192 in the service's unit",
        )
    logins = min(limits.logins_at_once, room // 2)
    return replace(
        limits, logins_at_once=logins, accepts_at_once=accepts, sessions=min(limits.sessions, room - logins)
    )
