"""The line that an IT lead reads out: a pace, a range of clock times, or that nothing moves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from support.tally_board import NOW, summary
from support.tally_events import START, Told, disk
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.door.intake import as_carried, with_late_ones
from unbrick.tally.records import Estimate
from unbrick.tally.show.pace import pace_sentence
from unbrick.tally.store.store import Store

HOUR = 60.0
DAY = 24 * HOUR


def said(estimate: Estimate | None, *, pace: float = 0.8, now: datetime = NOW) -> str:
    return pace_sentence(summary({"repaired": 10, "expected": 20}, estimate=estimate, pace=pace), 0, now)


@pytest.mark.parametrize(
    ("estimate", "words"),
    [
        (Estimate(25.0, 16.0, 58.0, 6, 10.0), "ends between 14:19 and 15:05 (rough)"),
        (Estimate(200.0, 160.0, 250.0, 60, 60.0), "ends between 16:40 and 18:15 (fair)"),
        (Estimate(660.0, 540.0, 780.0, 60, 60.0), "ends between today 23:00 and tomorrow 03:15 (good)"),
        (Estimate(20 * HOUR, 18 * HOUR, 21 * HOUR, 60, 60.0), "ends tomorrow between 08:00 and 11:15 (good)"),
        (Estimate(3 * DAY, 2 * DAY, 5 * DAY, 60, 60.0), "ends between Tuesday 14:00 and Friday 14:15 (fair)"),
        (Estimate(20 * DAY, 17 * DAY, 24 * DAY, 60, 60.0), "ends between 5 August and 12 August (good)"),
        (Estimate(400 * DAY, 365 * DAY, 365 * DAY + 1, 60, 60.0), "ends 19 July 2027 (good)"),
        (Estimate(0.2, 0.1, 0.4, 60, 60.0), "ends between 14:03 and 14:04 (good)"),
        (Estimate(4000.0, 2000.0, None, 2, 60.0), "ends tomorrow 23:15 at the earliest (a guess)"),
        (None, "too early to say when it ends"),
    ],
)  # fmt: skip
def test_the_end_is_a_range_of_clock_times_and_says_how_sure_it_is(
    estimate: Estimate | None, words: str
) -> None:
    assert said(estimate) == f"48 an hour, {words}"


def test_the_clock_is_that_of_the_place_where_it_is_read() -> None:
    estimate = Estimate(60.0, 50.0, 70.0, 60, 60.0)
    there = NOW.astimezone(timezone(timedelta(hours=10)))
    assert said(estimate, now=there) == "48 an hour, ends between 00:50 and 01:15 (good)"


@pytest.mark.parametrize(
    ("pace", "words"),
    [(12.4, "12 a minute"), (1.6, "1.6 a minute"), (0.2, "12 an hour"), (0.004, "1 an hour")],
)
def test_a_slow_pace_is_told_by_the_hour(pace: float, words: str) -> None:
    assert said(None, pace=pace).startswith(f"{words}, ")


def test_a_tally_with_an_inventory_only_waits() -> None:
    numbers = replace(summary({"expected": 20}), last_event=None)
    assert pace_sentence(numbers, 0, NOW) == "no machine has reported yet"


def test_huge_numbers_make_no_date_that_does_not_exist() -> None:
    assert said(Estimate(1e12, 1e11, 1e13, 60, 60.0)) == "48 an hour, ends 16 July 2036 (rough)"


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Store]:
    """A hundred machines, of which twenty were repaired, one a minute."""
    (tmp_path / "list.csv").write_text("name\n" + "".join(f"W-{number}\n" for number in range(100)))
    with Store.open(tmp_path / "tally.db") as store:
        store.import_inventory(tmp_path / "list.csv")
        for number in range(20):
            repair(store, number, minute=number)
        yield store
        assert faults_of(store) == ()


def repair(store: Store, number: int, *, minute: float, status: str = "repaired") -> None:
    machine = Machine(None, None, disk(number), (f"W-{number}",))
    store.add(Told(number, machine, minute=minute).story(status))


def sentence(store: Store, minute: float) -> str:
    now = START + timedelta(minutes=minute)
    return pace_sentence(store.summary(now), 0, now)


def test_while_machines_come_back_the_end_is_foreseen(fleet: Store) -> None:
    assert sentence(fleet, 20) == "1.0 a minute, ends between 09:15 and 10:25 (fair)"


def test_twelve_minutes_after_the_last_report_it_says_so_and_foresees_nothing(fleet: Store) -> None:
    assert sentence(fleet, 31) == "nothing for 12 min"
    assert fleet.summary(START + timedelta(minutes=31)).stalled


def test_hours_later_it_still_says_only_that(fleet: Store) -> None:
    assert sentence(fleet, 200) == "nothing for 3 h 1 min"
    assert sentence(fleet, 60 * 24 * 3) == "nothing for 2 d 23 h"


def test_reports_that_finish_nothing_are_no_progress(fleet: Store) -> None:
    for number in range(20, 24):
        repair(fleet, number, minute=number + 10, status="needs-key")
    now = START + timedelta(minutes=34)
    assert pace_sentence(fleet.summary(now), 4, now) == ("stalled: no machine done for 15 min; 4 stuck")


def test_a_slow_fleet_is_not_stalled_by_a_pause_that_is_usual(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name\n" + "".join(f"W-{number}\n" for number in range(100)))
    with Store.open(tmp_path / "tally.db") as store:
        store.import_inventory(tmp_path / "list.csv")
        for number in range(6):
            repair(store, number, minute=9 * number)
        assert not store.summary(START + timedelta(minutes=57)).stalled
        words = sentence(store, 57)
    assert words.startswith("nothing for 12 min, 6 an hour, ends between ")
    assert words.endswith("(rough)")


def test_where_the_last_minutes_are_slower_than_the_hour_the_end_lies_further_away(fleet: Store) -> None:
    for number in range(20, 60):
        repair(fleet, number, minute=20)
    repair(fleet, 60, minute=25)
    now = START + timedelta(minutes=25.9)
    estimate = fleet.summary(now).estimate
    assert estimate is not None
    assert estimate.latest is not None
    assert estimate.latest > 3 * estimate.minutes
    assert "(rough)" in sentence(fleet, 25.9)


def test_machines_that_are_stuck_are_no_visit_to_wait_for(fleet: Store) -> None:
    for number in range(20, 90):
        repair(fleet, number, minute=19, status="needs-key")
    now = START + timedelta(minutes=20)
    estimate = fleet.summary(now).estimate
    assert estimate is not None
    assert estimate.minutes == pytest.approx(10.0)


def test_nothing_but_a_first_report_is_too_early(tmp_path: Path) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        store.add(Told(1, Machine(None, None, disk(1), ("W-1",))).story("found"))
        assert sentence(store, 1) == "too early to say when it ends"


def test_what_was_carried_counts_in_the_total_and_not_in_the_pace(fleet: Store) -> None:
    for number in range(20, 80):
        machine = Machine(None, None, disk(number), (f"W-{number}",))
        fleet.add(as_carried(Told(number, machine, minute=19).story("repaired")))
    summary = fleet.summary(START + timedelta(minutes=20))
    assert (summary.finished, summary.remaining) == (80, 20)
    assert summary.rates.finished_last_60 == pytest.approx(1.0)
    assert sentence(fleet, 20) == "1.0 a minute, ends between 08:33 and 08:55 (fair)"


def test_a_tally_that_knows_carried_reports_only_foresees_nothing(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("name\n" + "".join(f"W-{number}\n" for number in range(2000)))
    with Store.open(tmp_path / "tally.db") as store:
        store.import_inventory(tmp_path / "list.csv")
        for number in range(600):
            machine = Machine(None, None, disk(number), (f"W-{number}",))
            store.add(as_carried([Told(number, machine).outcome("repaired")]))
        assert sentence(store, 1) == "too early to say when it ends"
        assert store.summary(START).finished == 600
        assert faults_of(store) == ()


def test_what_waited_in_an_outbox_is_no_pace_and_a_visit_that_is_going_on_is() -> None:
    visit = [one for number in (1, 2) for one in Told(number).story("repaired")]
    assert not any(one.carried for one in with_late_ones(visit))
    outbox = [one for number in range(40) for one in Told(number).story("repaired")]
    assert all(one.carried for one in with_late_ones(outbox))


def test_a_list_of_marks_made_at_a_desk_is_no_pace(fleet: Store) -> None:
    for number in range(20, 60):
        fleet.mark(f"W-{number}", "not-affected", reason="another OS", who="kim", at=START)
    for number in range(20):
        fleet.confirm(f"W-{number}", who="kim", at=START + timedelta(minutes=19))
    fleet.mark("W-60", "replaced", reason="spare", who="kim", at=START + timedelta(minutes=19))
    summary = fleet.summary(START + timedelta(minutes=20))
    assert summary.finished == 61
    assert summary.rates.finished_last_60 == pytest.approx(21 / 20)
