"""How fast and how long still: from counts by the minute, with a range, and nothing where little is known."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tally_events import START, Told, disk
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.show.pace import count_in, estimate, poisson_bounds, rates, window_minutes
from unbrick.tally.store.store import Store


@pytest.mark.parametrize(
    ("count", "low", "high"),
    # The exact bounds, from the chi-square distribution: chi2(0.05, 2n)/2 and chi2(0.95, 2n+2)/2.
    [(0, 0.0, 2.996), (1, 0.0513, 4.744), (5, 1.970, 10.513), (10, 5.425, 16.962), (100, 84.139, 118.079)],
)
def test_the_bounds_are_those_of_a_poisson_count(count: int, low: float, high: float) -> None:
    assert poisson_bounds(count) == pytest.approx((low, high), rel=0.02, abs=0.02)


def test_the_estimate_is_remaining_by_rate_within_its_bounds() -> None:
    found = estimate(remaining=200, counted=100, window=60)
    assert found is not None
    assert found.latest is not None
    assert found.minutes == pytest.approx(120)
    assert found.earliest == pytest.approx(120 / 1.18079, rel=0.01)
    assert found.latest == pytest.approx(120 / 0.84139, rel=0.01)


@pytest.mark.parametrize(("counted", "window"), [(0, 60), (4, 60), (-3, 60), (50, 0)])
def test_too_little_says_nothing(counted: int, window: float) -> None:
    assert estimate(100, counted, window) is None


def test_nothing_left_takes_no_time() -> None:
    found = estimate(0, 0, 60)
    assert found is not None
    assert (found.earliest, found.minutes, found.latest) == (0, 0, 0)


@given(st.integers(1, 10**6), st.integers(5, 10**6), st.floats(1, 60))
def test_the_estimate_lies_between_its_bounds(remaining: int, counted: int, window: float) -> None:
    found = estimate(remaining, counted, window)
    assert found is not None
    assert found.latest is not None
    assert 0 < found.earliest < found.minutes < found.latest


def test_a_window_begins_with_a_minute_or_with_the_first_event() -> None:
    assert window_minutes(5, now=100.5, first=0) == pytest.approx(4.5)
    assert window_minutes(60, now=100.5, first=90) == pytest.approx(10.5)
    assert window_minutes(60, now=100.5, first=100.4) == 1


def test_only_the_minutes_of_the_window_are_counted() -> None:
    columns = {94: 1, 95: 10, 96: 100, 100: 1000, 101: 10_000}
    assert count_in(columns, 5, 100.9) == 1100
    assert rates(columns, columns, now=100.99, first=0).repaired_last_5 == pytest.approx(1100 / 4.99)


def test_the_summary_knows_the_pace(tmp_path: Path) -> None:
    (tmp_path / "inventory.csv").write_text("name\n" + "".join(f"W-{number}\n" for number in range(100)))
    with Store.open(tmp_path / "tally.db") as store:
        store.import_inventory(tmp_path / "inventory.csv")
        assert store.summary(START).estimate is None
        for number in range(40):
            machine = Machine(None, None, disk(number), (f"W-{number}",))
            store.add(Told(number, machine, minute=number).story("repaired" if number % 2 else "healthy"))
        now = START + timedelta(minutes=40)
        summary = store.summary(now)
        assert (summary.first_event, summary.last_event) == (START, START + timedelta(minutes=39))
        assert summary.rates.finished_last_60 == pytest.approx(1.0)
        assert summary.rates.repaired_last_60 == pytest.approx(0.5)
        assert summary.rates.finished_last_5 == pytest.approx(1.0)
        assert summary.estimate is not None
        assert (summary.remaining, summary.estimate.counted) == (60, 40)
        assert summary.estimate.minutes == pytest.approx(60)
        later = store.summary(now + timedelta(hours=2))
        assert (later.rates.repaired_last_60, later.estimate) == (0, None)
        # A machine that was repaired again moves; it is not counted twice.
        store.add(Told(90, Machine(None, None, disk(1), ("W-1",)), minute=39).story("repaired"))
        assert store.summary(now).rates.repaired_last_60 == pytest.approx(0.5)
        assert faults_of(store) == ()
