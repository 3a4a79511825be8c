"""After whatever reports, lists and persons do, the tally is what its reports and their words add up to."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from support.tally_contents import contents
from support.tally_steps import Step, random_events, random_steps, take_step
from support.tally_sums import faults_of

from unbrick.tally.count import bearing
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store.store import Store

# Each of several sites would be at home where the first of its reports came from.
ONE_SITE = ("north-1", "north-2", "unknown", "everywhere")
_SPOKEN_OF = """
    SELECT machines.key FROM statements JOIN runs ON runs.first = statements.machine_first
    JOIN machines ON machines.key = runs.machine
"""


@pytest.fixture(autouse=True)
def few_runs_bear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bearing, "RECENT", 2)


def assert_adds_up(store: Store, path: Path) -> None:
    assert faults_of(store) == ()
    rows = store.machines(limit=None)
    assert store.summary().total == len(rows)
    assert store.summary().by_status == Counter(row.status for row in rows)
    assert store.disputes() is not None
    with closing(sqlite3.connect(path)) as reader:
        spoken_of = Counter(key for (key,) in reader.execute(_SPOKEN_OF))
    for row in rows:  # each may have words on a name of before it was seen, too
        assert len(store.said_of(row)) >= spoken_of[row.key]


@pytest.mark.parametrize("seed", range(8))
def test_what_is_kept_is_what_is_added_up_after_any_steps(tmp_path: Path, seed: int) -> None:
    with Store.open(tmp_path / "tally.db") as store:
        for step in random_steps(seed, 25):
            take_step(store, tmp_path, step)
            assert_adds_up(store, tmp_path / "tally.db")


def deliver(store: Store, folder: Path, events: list[ReceivedEvent], chance: random.Random) -> None:
    """All of them in some order, some twice, in batches."""
    order = events + chance.sample(events, min(4, len(events)))
    chance.shuffle(order)
    while order:
        many = chance.choice([1, 1, 2, 5])
        store.add(order[:many])
        del order[:many]


def what_persons_do(seed: int) -> list[Step]:
    """Steps that bring no report, and no word on what no medium has seen: that is the first one's to come."""
    steps = [step for step in random_steps(seed, 60) if step.kind not in {"add", "rebuild"}]
    return [step for step in steps if step.kind != "mark" or not step.words[3]][:8]


@pytest.mark.parametrize("seed", range(6))
def test_what_persons_do_has_one_outcome_in_whatever_order_the_reports_came(
    tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    events = random_events(chance, 20, ONE_SITE)
    paths = tmp_path / "one.db", tmp_path / "other.db"
    with Store.open(paths[0]) as one, Store.open(paths[1]) as other:
        for store in (one, other):
            deliver(store, tmp_path, events, chance)
        for step in what_persons_do(seed):
            for store, path in zip((one, other), paths, strict=True):
                take_step(store, tmp_path, step)
                assert_adds_up(store, path)
            assert contents(paths[0]) == contents(paths[1])
