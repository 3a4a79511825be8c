"""What an event costs does not grow with the runs of its machine, and what it gives is what all runs give."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from support.database_trace import traced
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.count import bearing, machines
from unbrick.tally.count.decisions import What
from unbrick.tally.count.runs import RunRecord, run_of
from unbrick.tally.records import ReceivedEvent, StatementError
from unbrick.tally.store.store import Store

OUTCOMES = ("repaired", "undone", "healthy", "found", "needs-key", "needs-hands", "failed", "scanned")
STATIONS = {"north-1": "north", "north-2": "north", "south-1": "south", "all-1": "main"}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()


@pytest.fixture
def statements() -> Iterator[list[str]]:
    """Every statement that is executed meanwhile."""
    with traced() as said:
        yield said


@pytest.fixture
def read_runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The runs that were read meanwhile to make machines' rows."""
    read: list[str] = []

    def note(row: dict[str, object]) -> RunRecord:
        read.append(str(row["run"]))
        return run_of(row)

    monkeypatch.setattr(machines, "run_of", note)
    return read


def the_one(_: int) -> Machine:
    return Machine(uuid(1), "SN-1", disk(1), ("PC-1",))


def one_of_many_clones(number: int) -> Machine:
    """Virtual machines with one firmware UUID."""
    return Machine(uuid(1), f"SN-{number}", disk(number), (f"PC-{number:05}",))


def without_firmware(_: int) -> Machine:
    return Machine(None, None, disk(1), ("PC-1",))


@pytest.mark.parametrize("machine", [the_one, one_of_many_clones, without_firmware])
def test_an_event_costs_the_same_after_a_hundred_runs_and_after_two_thousand(
    store: Store, statements: list[str], read_runs: list[str], machine: Callable[[int], Machine]
) -> None:
    costs = []
    number = 0
    for runs in (100, 2000):
        while number < runs:
            batch = []
            for _ in range(50):
                number += 1
                batch += story_of(number, machine)
            store.add(batch)
        statements.clear()
        read_runs.clear()
        for _ in range(2 * bearing.RECENT):
            number += 1
            store.add(story_of(number, machine))
        costs.append((len(read_runs), len(statements)))
    assert costs[1][0] <= 1.1 * costs[0][0]
    assert costs[1][1] <= 1.1 * costs[0][1]


def story_of(number: int, machine: Callable[[int], Machine]) -> list[ReceivedEvent]:
    return Told(number, machine(number), minute=number / 100).story("repaired")


def random_event(chance: random.Random, minute: float) -> ReceivedEvent:
    """Of one of thirty runs, most of them of one machine; few are signed by two stations, or contradict."""
    number = chance.randint(1, 30)
    station = list(STATIONS)[number % 4 if chance.random() < 0.97 else 0]
    machine = Machine(
        chance.choice([uuid(1), uuid(1), uuid(1), uuid(1), uuid(1), None]),
        chance.choice([None, None, None, None, "SN-1", "SN-2", "SN-3"]),
        chance.choice([None, None, disk(1), disk(1), disk(2)]),
        tuple(chance.sample([f"PC-{one}" for one in range(20)], chance.choice([0] * 12 + [1, 1, 6]))),
    )
    told = Told(number, machine, site=chance.choice(["north", "south"]), minute=minute, station=station)
    sequence = chance.randint(1, 300)
    if chance.random() < 0.3:
        one = told.tell(chance.choice(["run-started", "locked", "found", "note"]), sequence=sequence)
    else:
        reason = chance.choice([None, "no-windows", "hibernated"])
        one = told.tell("outcome", sequence=sequence, status=chance.choice(OUTCOMES), reason=reason)
    site = STATIONS[station] if chance.random() < 0.95 else None
    return replace(one, site=site, everywhere=site == "main")


def a_person_acts(chance: random.Random, store: Store, folder: Path) -> None:
    act = chance.choice(["list", "discount", "settle", "mark"])
    if act == "list":
        lines = [
            f"PC-{one},{chance.choice(['', f'SN-{one}'])},{chance.choice(['', 'north', 'south'])}\n"
            for one in chance.sample(range(20), 5)
        ]
        (folder / "list.csv").write_text("name,serial,site\n" + "".join(lines))
        store.import_inventory(folder / "list.csv")
    elif act == "discount":
        discounted = chance.random() < 0.5
        store.discount(chance.choice(list(STATIONS)), discounted=discounted, reason="x", who="kim")
    elif act == "settle":
        for one in store.disputes()[:1]:
            what = chance.choice([What.DISMISS, None])
            store.settle(one.code, what if what or one.settled else What.DISMISS, reason="x", who="kim")
    else:
        for row in store.machines(limit=1):
            with suppress(StatementError):  # several are called so
                store.mark(row.name, "re-imaged", reason="x", who="kim", at=START)


@pytest.mark.parametrize("seed", [0, 1, 2, 3, 7, 8, 11])
def test_the_runs_that_bear_tell_what_all_of_them_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(bearing, "RECENT", 1)
    chance = random.Random(seed)
    with Store.open(tmp_path / "tally.db") as store:
        for minute in range(100):
            store.add([random_event(chance, minute) for _ in range(chance.choice([1, 1, 4]))])
            assert faults_of(store) == ()
            if chance.random() < 0.1:
                a_person_acts(chance, store, tmp_path)
                assert faults_of(store) == ()


def test_what_stood_behind_a_run_comes_forward_when_that_run_turns_out_to_be_another_machine_s(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bearing, "RECENT", 1)
    told = [Told(number, Machine(uuid(2), f"SN-{number}", None, ("PC",))) for number in range(1, 9)]
    for one in told:
        store.add([one.outcome("repaired")])
    for number in range(9, 13):
        store.add([Told(number, Machine(uuid(2), None, None, ("PC",))).outcome("repaired")])
    assert [row.serial for row in store.machines()] == ["SN-8"]
    told[-1].machine = Machine(uuid(1), "SN-8", None, ("PC",))
    store.add([told[-1].tell("note")])
    assert [(row.key[-1], row.serial) for row in store.machines()] == [("1", "SN-8"), ("2", "SN-7")]


def test_the_first_report_of_a_machine_takes_few_statements(store: Store, statements: list[str]) -> None:
    store.add(story_of(1, one_of_many_clones))
    statements.clear()
    store.add(Told(2, Machine(uuid(2), "SN-X", disk(2000), ("OTHER",))).story("repaired"))
    assert len(statements) <= 55


def test_the_contradictions_of_a_station_whose_word_does_not_count_cost_an_event_nothing(
    store: Store, read_runs: list[str]
) -> None:
    for number in range(100):
        told = Told(number, the_one(0), station="lost")
        store.add([told.outcome("repaired"), replace(told, sequence=0).outcome("healthy")])
    store.discount("lost", discounted=True, reason="a lost stick", who="kim")
    read_runs.clear()
    store.add(Told(500, the_one(0), station="good").story("found"))
    assert [row.status for row in store.machines()] == ["found"]
    assert len(read_runs) < 50
