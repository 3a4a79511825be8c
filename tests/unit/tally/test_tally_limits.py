from __future__ import annotations

import resource

from unbrick.tally.limits import Arrivals, Limits, Pace, Sessions, sessions_that_fit


def test_the_oldest_of_the_greediest_address_goes_first() -> None:
    arrivals = Arrivals(3)
    assert arrivals.enter("quiet", "10.0.0.1") is None
    assert arrivals.enter("greedy-1", "10.0.0.2") is None
    assert arrivals.enter("greedy-2", "10.0.0.2") is None
    assert arrivals.enter("greedy-3", "10.0.0.2") == "greedy-1"
    assert len(arrivals) == 3
    arrivals.leave("greedy-2")
    arrivals.leave("greedy-1")
    assert arrivals.enter("other", "10.0.0.3") is None


def test_sessions_are_counted_by_station_and_together() -> None:
    sessions = Sessions(3, 2)
    assert [sessions.enter(name) for name in ("a", "a")] == [None, None]
    assert "one station" in (sessions.enter("a") or "")
    assert sessions.enter("b") is None
    assert "too many sessions at once" in (sessions.enter("c") or "")
    sessions.leave("a")
    assert sessions.enter("c") is None


def test_the_pace_lets_a_burst_pass_and_then_slows_down() -> None:
    now = [0.0]
    pace = Pace(10, 50, clock=lambda: now[0])
    assert pace.take(50) == 0
    assert pace.take(20) == 2.0
    now[0] = 100.0
    assert pace.take(50) == 0
    assert pace.take(1) == 0.1


def test_two_thousand_sessions_fit_where_the_hard_limit_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        fits = sessions_that_fit(Limits(sessions=2000))
        assert fits == 2000 or before[1] < 2200
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > fits
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
