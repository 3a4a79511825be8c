"""What a station may store in a day; a restart and a clock that is set back give it nothing more."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.tally_events import Told, disk

from unbrick.model import Machine
from unbrick.tally.door.budgets import DayBudgets, DayLimits
from unbrick.tally.records import ReceivedEvent

LIMITS = DayLimits(bytes=20_000, words=3, names=5)
_INFINITE = b'{"day": "2026-11-30", "stations": {"a": {"bytes": Infinity, "words": 0, "names": 0}}}'

_NEGATIVE = b'{"day": "2026-11-30", "stations": {"stick-1": {"bytes": -9, "words": 0, "names": 0}}}'


class Scene:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = datetime(2026, 11, 30, 12, tzinfo=UTC)
        self.alarms: list[tuple[str, str]] = []

    def budgets(self) -> DayBudgets:
        return DayBudgets(
            self.path,
            LIMITS,
            lambda: self.now,
            lambda: {"st-marys"},
            lambda station, what: self.alarms.append((station, what)),
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path / "today.json")


def _event(number: int, *, station: str = "stick-1", text: str = "", **changes: str | None) -> ReceivedEvent:
    told = Told(number, Machine(None, None, disk(number), ("WARD-1",)), station=station)
    event = told.tell("outcome", status="failed", reason=changes.pop("reason", None), text=text)
    return replace(event, event=replace(event.event, **changes))  # type: ignore[arg-type]


def _store(budgets: DayBudgets, *events: ReceivedEvent) -> bool:
    if budgets.refusal(events) is not None:
        return False
    budgets.spend(events)
    return True


def test_bytes_are_counted_by_station_and_day_and_over_a_restart(scene: Scene) -> None:
    budgets = scene.budgets()
    taken = [_store(budgets, _event(number, text="x" * 4000)) for number in range(10)]
    assert taken == [True] * taken.count(True) + [False] * taken.count(False)
    assert 3 <= taken.count(True) <= 5
    assert _store(budgets, _event(50, station="stick-2")), "the others go on"
    assert scene.alarms == [("stick-1", "0 MiB")]
    assert budgets.stopped == {"stick-1": "0 MiB"}
    budgets.save()
    again = scene.budgets()
    assert not _store(again, _event(60, text="x" * 4000))
    scene.now -= timedelta(days=2)
    assert not _store(again, _event(60, text="x" * 4000)), "a clock that is set back"
    scene.now += timedelta(days=3)
    assert _store(again, _event(60, text="x" * 4000)), "tomorrow"
    assert again.stopped == {}


def test_a_clock_that_was_years_ahead_stops_nobody_for_years(scene: Scene) -> None:
    right = scene.now
    scene.now = right.replace(year=2038)
    budgets = scene.budgets()
    while _store(budgets, _event(1, text="x" * 4000)):
        pass
    budgets.save()
    scene.now = right
    assert _store(budgets, _event(2))
    assert _store(scene.budgets(), _event(3)), "nor after a restart"


def test_new_words_are_few_and_known_ones_cost_nothing(scene: Scene) -> None:
    budgets = scene.budgets()
    for number, reason in enumerate(("hibernated", "no-windows", None)):
        assert _store(budgets, _event(number, reason=reason, site="st-marys"))
    for number in range(3):
        assert _store(budgets, _event(10 + number, site=f"invented-{number}"))
        assert _store(budgets, _event(20 + number, site=f"invented-{number}")), "the same again"
    assert not _store(budgets, _event(30, site="invented-3"))
    assert not _store(budgets, _event(31, reason="a-new-reason"))
    assert _store(budgets, _event(32, reason="hibernated")), "what is known goes on"


def test_new_names_are_counted_too(scene: Scene) -> None:
    budgets = scene.budgets()
    machines = [Machine(None, None, disk(number), (f"W-{number}",)) for number in range(8)]
    taken = [
        _store(budgets, replace(_event(1), event=replace(_event(1).event, machine=one))) for one in machines
    ]
    assert taken == [True] * 5 + [False] * 3


@pytest.mark.parametrize(
    "content",
    [b"", _NEGATIVE, b"{", b"[]", b'{"day": 5, "stations": 7}', b"\xff" * 100, b"[" * 9000, _INFINITE],
)
def test_a_damaged_file_counts_as_nothing_spent(scene: Scene, content: bytes) -> None:
    scene.path.write_bytes(content)
    budgets = scene.budgets()
    assert _store(budgets, _event(1))
    assert "is damaged" in str(budgets.recount({}))
    again = scene.budgets()
    assert "stick-1" in str(again.recount({"stick-1": 20_000}))
    assert not _store(again, _event(2)), "what the reports say counts"
    again.save()
    assert scene.budgets().recount({"stick-1": 20_000}) is None


def test_a_file_that_is_missing_or_behind_gives_no_second_day(scene: Scene) -> None:
    assert scene.budgets().recount({}) is None, "a new tally"
    for known in (0, 19_000):
        budgets = scene.budgets()
        assert "is missing or behind" in str(budgets.recount({"stick-1": 20_000 - known // 19}))
        budgets.save()
        scene.path.unlink()
    budgets = scene.budgets()
    budgets.spend([_event(1)])
    assert budgets.recount({"stick-1": 1}) is None, "what came twice was counted twice"


def test_a_kill_gives_no_second_day_of_new_words(scene: Scene) -> None:
    limits = replace(LIMITS, bytes=10**9, words=60)

    def budgets() -> DayBudgets:
        return DayBudgets(scene.path, limits, lambda: scene.now, set)

    taken = 0
    for life in range(6):
        killed = budgets()
        for number in range(40):
            taken += _store(killed, _event(number, site=f"invented-{life}-{number}"))
    assert 60 <= taken < 60 + 6 * 20
