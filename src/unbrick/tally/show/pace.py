"""How fast machines come back and when it will be over, in words: clock times, and how sure they are.

Pure; times are told in the zone of the time that is given as now.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from unbrick.tally.records import Estimate, Summary

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July", "August", "September"),
    *("October", "November", "December"),
)
_DAYS_WITH_A_CLOCK = 7
_LONGEST_MINUTES = 10 * 365 * 24 * 60
_IDLE_MINUTES = 10
_FEWEST_IN_FIVE = 5


def span(minutes: float) -> str:
    """A stretch of time in words that fit: `under a minute`, `25 min`, `3 h 20 min`, `2 d 4 h`."""
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
    """How sure an estimate is, in a word: by how far apart its two bounds are."""
    if estimate.latest is None:
        return "a guess"
    spread = (estimate.latest - estimate.earliest) / max(estimate.minutes, 1.0)
    return "good" if spread <= 0.4 else "fair" if spread <= 1.0 else "rough"


def pace_sentence(summary: Summary, stuck: int, now: datetime) -> str:
    """One line: how fast, when it ends and how sure that is, and how many no pace will bring back."""
    if not summary.total:
        return "waiting for the first report"
    if not summary.remaining:
        said = "all are done"
    elif summary.remaining == stuck:
        said = "no visit left to make"
    else:
        said = ", ".join(part for part in (_idle(summary, now), _pace(summary), _end(summary, now)) if part)
    return f"{said}; {stuck:,} stuck" if stuck else said


def _idle(summary: Summary, now: datetime) -> str | None:
    """What is said where nothing comes any more; None while something does."""
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
    """The pace of the last minutes, or the last hour where these are too few to tell; None for none now."""
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
    """A moment to come in words: `16:20`, `tomorrow 02:10`, `Friday 09:00`, `9 December`."""
    if _days_ahead(moment, now) < _DAYS_WITH_A_CLOCK:
        return f"{_day(moment, now)}{moment:%H:%M}"
    year = f" {moment.year}" if moment.year != now.year else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]}{year}"


def _when(minutes: float, now: datetime, *, up: bool) -> datetime:
    """That many minutes from now, on a round minute down or up: nobody can say it to the minute."""
    grain = 1 if minutes < 30 else 5 if minutes < 6 * 60 else 15
    moment = now + timedelta(minutes=min(minutes, _LONGEST_MINUTES))
    down = moment.replace(minute=moment.minute - moment.minute % grain, second=0, microsecond=0)
    return down + timedelta(minutes=grain) if up and down < moment else down


def _days_ahead(moment: datetime, now: datetime) -> int:
    return (moment.date() - now.date()).days


def _day(moment: datetime, now: datetime) -> str:
    """The day with a blank after it; nothing for today."""
    ahead = _days_ahead(moment, now)
    return "" if ahead == 0 else "tomorrow " if ahead == 1 else f"{_DAYS[moment.weekday()]} "
