"""How fast machines come back and when it will be over: computed from counts by the minute, and in words.

A count of machines is taken as a Poisson count, like cars that pass: of a count n about the square root is
chance. The bounds are Wilson and Hilferty's approximation for it, at 90 percent. The words are clock times in
the zone of `now`, and how sure they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

from unbrick.tally.records import Estimate, Rates, Summary

FEWEST = 5  # fewer finished machines say nothing about the pace
_Z = 1.645
_SHORT, _LONG = 5, 60
_SURELY_DUE = 3.0
_LEAST_MINUTES = 1.0
_DAYS_WITH_A_CLOCK = 7
_LONGEST_MINUTES = 10 * 365 * 24 * 60
_IDLE_MINUTES = 10
_FEWEST_IN_FIVE = 5


def window_minutes(width: int, now: float, first: float) -> float:
    """How long a window of `width` minute columns is so far; all times in minutes.

    The last column has only begun, and before the first event there was nothing to count.
    """
    begin = math.floor(now) - width + 1
    return max(now - max(begin, first), _LEAST_MINUTES)


def count_in(columns: Mapping[int, int], width: int, now: float) -> int:
    last = math.floor(now)  # whose column is the last of `width` minutes
    return sum(count for minute, count in columns.items() if last - width < minute <= last)


def rates(repaired: Mapping[int, int], finished: Mapping[int, int], now: float, first: float) -> Rates:
    """Machines a minute; the mappings are from minute (since 1970) to a count."""

    def rate(columns: Mapping[int, int], width: int) -> float:
        return max(count_in(columns, width, now), 0) / window_minutes(width, now, first)

    return Rates(rate(repaired, 5), rate(repaired, 60), rate(finished, 5), rate(finished, 60))


def estimate(
    remaining: int, counted: int, window: float, lately: tuple[int, float] | None = None
) -> Estimate | None:
    """Minutes until `remaining` machines are finished, where `counted` were in the last `window` minutes.

    None where too little is known. `lately` is (counted, window) for a shorter window: where its pace differs
    for certain, the bounds cover both.
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
    """Whether nothing was finished for so long that the hour's pace cannot be today's.

    At that pace three were due in the silent time: by chance that happens once in twenty times.
    """
    counted = count_in(columns, _LONG, now)
    if counted <= 0:
        return True
    begin = max(math.floor(now) - _LONG + 1, first)
    last = max(minute for minute, count in columns.items() if count > 0) + 1
    quiet, busy = max(now - last, 0.0), max(last - begin, _LEAST_MINUTES)
    return counted >= FEWEST and quiet >= _SHORT and quiet * counted / busy >= _SURELY_DUE


def poisson_bounds(count: int) -> tuple[float, float]:
    """Between which means a Poisson count is with 90 percent; the lower is 0 for a count of 0."""
    more = count + 1
    high = more * (1 - 1 / (9 * more) + _Z / (3 * math.sqrt(more))) ** 3
    if count == 0:
        return 0.0, high
    low = count * (1 - 1 / (9 * count) - _Z / (3 * math.sqrt(count))) ** 3
    return low, high


def span(minutes: float) -> str:
    """A duration in words: `under a minute`, `25 min`, `3 h 20 min`, `2 d 4 h`."""
    whole = round(minutes)
    if whole < 1:
        return "under a minute"
    if whole < 60:
        return f"{whole} min"
    if whole < 48 * 60:
        hours, rest = divmod(whole, 60)
        return f"{hours} h {rest} min" if rest and hours < 10 else f"{round(whole / 60)} h"
    days, rest = divmod(whole, 24 * 60)
    return f"{days} d {rest // 60} h" if days < 10 else f"{days:,} days"


def sureness(estimate: Estimate) -> str:
    """How sure an estimate is, by how far apart its bounds are."""
    if estimate.latest is None:
        return "a guess"
    spread = (estimate.latest - estimate.earliest) / max(estimate.minutes, 1.0)
    return "good" if spread <= 0.4 else "fair" if spread <= 1.0 else "rough"


def pace_sentence(summary: Summary, stuck: int, now: datetime) -> str:
    if not summary.total:
        return "waiting for the first report"
    if not summary.remaining and summary.undecided:
        said = f"all that count are done; {summary.undecided:,} not counted"
    elif not summary.remaining:
        said = "all are done"
    elif summary.remaining == stuck:
        said = "no visit left to make"
    else:
        said = ", ".join(part for part in (_idle(summary, now), _pace(summary), _end(summary, now)) if part)
    return f"{said}; {stuck:,} stuck" if stuck else said


def _idle(summary: Summary, now: datetime) -> str | None:
    silent = _minutes_since(summary.last_event, now)
    if silent is None:
        return "no machine has reported yet"
    if silent >= _IDLE_MINUTES:
        return f"nothing for {span(silent)}"
    if summary.stalled:
        quiet = _minutes_since(summary.last_finished, now)
        return "stalled" if quiet is None else f"stalled: no machine done for {span(quiet)}"
    return None


def _minutes_since(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max((now - moment).total_seconds() / 60, 0.0)


def _pace(summary: Summary) -> str | None:
    """The pace of the last five minutes, or of the hour where five show too little; None without one."""
    lately, before = summary.rates.finished_last_5, summary.rates.finished_last_60
    if before <= 0 or summary.stalled:
        return None
    return _rate(lately if lately * 5 >= _FEWEST_IN_FIVE else before)


def _rate(a_minute: float) -> str:
    if a_minute < 1:
        return f"{max(round(a_minute * 60), 1)} an hour"
    return f"{a_minute:,.0f} a minute" if a_minute >= 10 else f"{a_minute:.1f} a minute"


def _end(summary: Summary, now: datetime) -> str | None:
    """When the last visit is made, as a range of clock times; None where nothing moves."""
    estimate = summary.estimate
    if summary.stalled or summary.last_event is None:
        return None
    if estimate is None:
        return "too early to say when it ends"
    if estimate.latest is None:
        begin = _when(estimate.earliest, now, up=False)
        return f"ends {clock_time(begin, now)} at the earliest ({sureness(estimate)})"
    begin, end = _when(estimate.earliest, now, up=False), _when(estimate.latest, now, up=True)
    if begin.date() == end.date() and clock_time(begin, now) == clock_time(end, now):
        return f"ends {clock_time(end, now)} ({sureness(estimate)})"
    if begin.date() == end.date() and _days_ahead(end, now) < _DAYS_WITH_A_CLOCK:
        return f"ends {_day(begin, now)}between {begin:%H:%M} and {end:%H:%M} ({sureness(estimate)})"
    first = clock_time(begin, now)
    first = f"today {first}" if begin.date() == now.date() else first
    return f"ends between {first} and {clock_time(end, now)} ({sureness(estimate)})"


def clock_time(moment: datetime, now: datetime) -> str:
    """A time ahead in words: `16:20`, `tomorrow 02:10`, `Friday 09:00`, `9 December`."""
    if _days_ahead(moment, now) < _DAYS_WITH_A_CLOCK:
        return f"{_day(moment, now)}{moment:%H:%M}"
    year = f" {moment.year}" if moment.year != now.year else ""
    return f"{moment.day} {moment:%B}{year}"


def _when(minutes: float, now: datetime, *, up: bool) -> datetime:
    """That many minutes from now, rounded down or up: to the minute would be more than is known."""
    grain = 1 if minutes < 30 else 5 if minutes < 6 * 60 else 15
    moment = now + timedelta(minutes=min(minutes, _LONGEST_MINUTES))
    down = moment.replace(minute=moment.minute - moment.minute % grain, second=0, microsecond=0)
    return down + timedelta(minutes=grain) if up and down < moment else down


def _days_ahead(moment: datetime, now: datetime) -> int:
    return (moment.date() - now.date()).days


def _day(moment: datetime, now: datetime) -> str:
    """The day and a blank; empty for today."""
    ahead = _days_ahead(moment, now)
    return "" if ahead == 0 else "tomorrow " if ahead == 1 else f"{moment:%A} "
