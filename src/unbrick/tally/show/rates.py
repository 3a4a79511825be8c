"""How fast machines come back and when it will be over, from counts by the minute. Pure.

Machines that come back are counted like cars that pass: of a count n about the square root is chance. The
bounds are the usual close form for a Poisson count (Wilson and Hilferty's cube), nine times in ten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from unbrick.tally.records import Estimate, Rates

FEWEST = 5
"""Fewer finished machines than this say nothing of the pace."""

_Z = 1.645
_SHORT, _LONG = 5, 60
_SURELY_DUE = 3.0
_LEAST_MINUTES = 1.0


def window_minutes(width: int, now: float, first: float) -> float:
    """How long a window of `width` minute columns is by now, all times in minutes: the last column has only
    begun, and before the first event there was nothing to count.
    """
    begin = math.floor(now) - width + 1
    return max(now - max(begin, first), _LEAST_MINUTES)


def count_in(columns: Mapping[int, int], width: int, now: float) -> int:
    """The sum of the last `width` minute columns."""
    last = math.floor(now)
    return sum(count for minute, count in columns.items() if last - width < minute <= last)


def rates(repaired: Mapping[int, int], finished: Mapping[int, int], now: float, first: float) -> Rates:
    """Machines a minute; the mappings are from minute (since 1970) to how many in it."""

    def rate(columns: Mapping[int, int], width: int) -> float:
        return max(count_in(columns, width, now), 0) / window_minutes(width, now, first)

    return Rates(rate(repaired, 5), rate(repaired, 60), rate(finished, 5), rate(finished, 60))


def estimate(
    remaining: int, counted: int, window: float, lately: tuple[int, float] | None = None
) -> Estimate | None:
    """Minutes until `remaining` machines are finished, where `counted` were in the last `window` minutes.

    None where too little is known to say. `lately` is the same pair for a shorter window: where it cannot be
    the same pace, the bounds hold for both.
    """
    if remaining <= 0:
        return Estimate(0.0, 0.0, 0.0, counted, window)
    if counted < FEWEST or window <= 0:
        return None
    low, high = (bound / window for bound in poisson_bounds(counted))
    if lately is not None and lately[1] > 0:
        slowest, fastest = (bound / lately[1] for bound in poisson_bounds(max(lately[0], 0)))
        if fastest < low:
            low = slowest
        elif slowest > high:
            high = fastest
    return Estimate(
        minutes=remaining * window / counted,
        earliest=remaining / high,
        latest=remaining / low if low > 0 else None,
        counted=counted,
        window=window,
    )


def is_stalled(columns: Mapping[int, int], now: float, first: float) -> bool:
    """Whether nothing was finished for so long that the pace of the hour cannot be the one of now.

    At that pace three were due in the silent stretch: by chance alone that is seen once in twenty times.
    """
    counted = count_in(columns, _LONG, now)
    if counted <= 0:
        return True
    begin = max(math.floor(now) - _LONG + 1, first)
    last = max(minute for minute, count in columns.items() if count > 0) + 1
    quiet, busy = max(now - last, 0.0), max(last - begin, _LEAST_MINUTES)
    return counted >= FEWEST and quiet >= _SHORT and quiet * counted / busy >= _SURELY_DUE


def poisson_bounds(count: int) -> tuple[float, float]:
    """Between which means a Poisson count lies nine times in ten; the lower is 0 for a count of 0."""
    more = count + 1
    high = more * (1 - 1 / (9 * more) + _Z / (3 * math.sqrt(more))) ** 3
    if count == 0:
        return 0.0, high
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3
    return low, high
