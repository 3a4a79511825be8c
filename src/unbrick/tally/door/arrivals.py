"""Connections that have not logged in yet: how many there may be, and which must go for a new one.

A login that makes progress keeps its place; one that stalls loses it. A whole network (IPv4 /24, IPv6 /64)
counts as one stranger: one machine can have every address of it.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from unbrick.tally.networks import network_of

_STALLED_SECONDS = 1.5
_NEWCOMERS_PER_SECOND = 250
_LEAST_SHARE = 16
_CROWDED = 0.75
_SILENT, _UNKNOWN, _AGREED = 8.0, 1.0, 0.25
_FAR_AWAY_SECONDS = 0.35  # behind a relay, the first bytes come a round trip after the connection
SPOKE = 0
_KEYS_AGREED = 21
# The SSH messages of a login: service (5), key exchange (20, 30) and its end (21), authentication (50).
_STEPS = frozenset({SPOKE, 5, 20, _KEYS_AGREED, 30, 50})


@dataclass
class _Waiting:
    network: str
    since: float
    kinds: set[int] = field(default_factory=set)

    def patience_used(self, now: float) -> float:
        """The seconds of standing still, which count nearly nothing where keys were agreed on."""
        seconds = now - self.since
        if not self.kinds and seconds > _FAR_AWAY_SECONDS:
            return seconds * _SILENT
        return seconds * (_AGREED if _KEYS_AGREED in self.kinds else _UNKNOWN)


class Arrivals:
    """The waiting connections, and since when each has made no progress (`step`).

    From three quarters of `most` on, a new one may push another out, by chance; always when all places are
    taken. Candidates are those of networks with more than their share, else those that stall; the one that
    stalled longest goes, so that a newcomer has as long as any other. Silence counts more, an agreed key
    less. Where none stalls, the new one itself must go: so a crowd that tries again at once gets in one after
    the other. With few places a shorter time counts as stalling: fast strangers would take them all before
    that.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._stalled = min(_STALLED_SECONDS, most / _NEWCOMERS_PER_SECOND)
        self._clock = clock
        self._waiting: dict[Hashable, _Waiting] = {}
        self._networks: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: Hashable, address: str) -> Hashable | None:
        """Count a new connection; gives the one that must go (perhaps itself), which is no longer counted."""
        network = network_of(address)
        pushed = self._pushed_out(network)
        if pushed is None and len(self._waiting) >= self._most:
            return connection
        if pushed is not None:
            self.leave(pushed)
        self._waiting[connection] = _Waiting(network, self._clock())
        self._networks[network] += 1
        return pushed

    def step(self, connection: Hashable, kind: int) -> None:
        """A login sent a message of this kind; only the first one of each kind of `_STEPS` is progress.

        The first bytes of all are of the kind `SPOKE`.
        """
        found = self._waiting.get(connection)
        if found is not None and kind in _STEPS and kind not in found.kinds:
            found.kinds.add(kind)
            found.since = self._clock()

    def all(self) -> tuple[Hashable, ...]:
        return tuple(self._waiting)

    def leave(self, connection: Hashable) -> None:
        found = self._waiting.pop(connection, None)
        if found is not None:
            self._networks[found.network] -= 1
            if not self._networks[found.network]:
                del self._networks[found.network]

    def _pushed_out(self, newcomer: str) -> Hashable | None:
        crowded = self._most * _CROWDED
        if len(self._waiting) < crowded:
            return None
        if random.random() * (self._most - crowded) > len(self._waiting) - crowded:  # noqa: S311 - no secret
            return None
        now = self._clock()
        # A client speaks at once. Where half of all are silent, the oldest of them will not.
        silent = sum(not one.kinds for one in self._waiting.values())
        patience = 0.0 if 2 * silent > self._most else self._stalled
        share = max(min(_LEAST_SHARE, self._most // 2), self._most // len({*self._networks, newcomer}))
        greedy = {network for network, count in self._networks.items() if count > share}
        found = [
            (-one.patience_used(now), number)
            for number, one in enumerate(self._waiting.values())
            if (not greedy or one.network in greedy)
            and (
                (greedy and newcomer not in greedy)
                or now - one.since >= (self._stalled if one.kinds else patience)
            )
        ]
        if not found:
            return None
        number = min(found)[1]
        return list(self._waiting)[number]
