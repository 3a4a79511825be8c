"""How fast machines come back, and when it will be over, in words: a range, and how sure it is. Pure."""

from __future__ import annotations

from unbrick.tally.records import Estimate, Summary


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


def pace_sentence(summary: Summary, stuck: int) -> str:
    """One line: how fast, how long still, how sure, and how many no pace will bring back."""
    estimate = summary.estimate
    pace = f"{_per_minute(summary.rates.finished_last_5)} a minute"
    if not summary.total:
        return "waiting for the first report"
    if not summary.remaining:
        said = "all are done"
    elif summary.remaining == stuck:
        said = "no visit left to make"
    elif estimate is None:
        said = f"{pace}, too early to say how long"
    else:
        until = "open end" if estimate.latest is None else span(estimate.latest)
        said = f"{pace}, about {span(estimate.minutes)} to go"
        said += f" ({span(estimate.earliest)} to {until}, {sureness(estimate)})"
    return f"{said}; {stuck:,} stuck" if stuck else said


def _per_minute(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"
