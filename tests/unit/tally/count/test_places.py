"""However machines come to be, move and are decided on: a station has so many places a day, all seen."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk, uuid
from support.tally_steps import random_steps, take_step
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.count import bearing
from unbrick.tally.count.decisions import What
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.show.pace import pace_sentence
from unbrick.tally.store.store import Store

DAY = 24 * 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        opened.new_machines_a_day = 10
        yield opened
        assert faults_of(opened) == ()


def visit(number: int, machine: Machine, *, station: str = "hog", minute: float = 0) -> list[ReceivedEvent]:
    return Told(number, machine, station=station, minute=minute).story("repaired")


def pc(number: int) -> Machine:
    return Machine(None, None, disk(number), (f"PC-{number}",))


def visits(numbers: range, *, station: str, minute: float = 0, run: int = 0) -> list[ReceivedEvent]:
    return [one for n in numbers for one in visit(run + n, pc(n), station=station, minute=minute)]


def expect(store: Store, folder: Path, names: list[str]) -> None:
    (folder / "inventory.csv").write_text("name\n" + "".join(f"{name}\n" for name in names))
    store.import_inventory(folder / "inventory.csv")


def told(store: Store) -> list[tuple[str, str, int]]:
    return [(one.kind, one.subject, one.machines) for one in store.disputes() if one.settled is None]


@pytest.mark.parametrize("at_once", [True, False])
def test_runs_that_move_to_machines_of_their_own_take_places(store: Store, at_once: bool) -> None:
    """Two runs of one disk, one with a firmware UUID; the latter shows another disk afterwards."""
    first, second = [], []
    for number in range(30):
        shown = Told(2 * number, Machine(uuid(1), None, disk(100 + number), ()), station="hog")
        first.append([shown.tell("run-started")])
        first.append(visit(2 * number + 1, Machine(None, None, disk(100 + number), ()), station="hog"))
        shown.machine = Machine(uuid(1), None, disk(1), ())
        second.append([shown.tell("locked")])
    for batch in (first, second):
        for part in [[one for some in batch for one in some]] if at_once else batch:
            store.add(part)
    assert (store.summary().total, told(store)) == (10, [("many", "hog/2026-03-02", 21)])


def test_one_run_that_walks_down_the_names_takes_places(store: Store) -> None:
    walking = Told(0, station="hog")
    for number in range(40):
        walking.machine = Machine(None, None, disk(1), (f"PC-{99 - number}",))
        store.add([walking.tell("locked")])
        store.add(visit(1 + number, walking.machine))
    assert (store.summary().total, told(store)) == (10, [("many", "hog/2026-03-02", 30)])


@pytest.mark.parametrize("before", [True, False])
def test_visits_after_a_lost_sticks_are_told_where_they_do_not_count(store: Store, before: bool) -> None:
    store.new_machines_a_day = 1000
    store.add(visits(range(40), station="lost"))
    if before:
        store.discount("lost", discounted=True, reason="lost", who="kim")
    store.new_machines_a_day = 10
    store.add(visits(range(40), station="good", run=100))
    if not before:
        assert (store.summary().total, told(store)) == (40, [])
        store.discount("lost", discounted=True, reason="lost", who="kim")
    assert (store.summary().total, told(store)) == (10, [("many", "good/2026-03-02", 30)])
    assert "all are done" not in pace_sentence(store.summary(), 0, START)
    (row,) = store.find("PC-35")
    assert row.held_by == store.disputes()[0].code
    store.discount("lost", discounted=False, reason="found", who="kim")
    assert (store.summary().total, told(store)) == (40, [])


def test_what_two_stations_brought_beyond_their_days_is_never_out_of_sight(store: Store) -> None:
    for station in ("one", "other"):
        store.add(visits(range(40), station=station, run=100 if station == "other" else 0))
    assert (store.summary().total, told(store)) == (20, [("many", "one/2026-03-02", 20)])
    store.discount("one", discounted=True, reason="lost", who="kim")
    assert (store.summary().total, told(store)) == (10, [("many", "other/2026-03-02", 30)])
    store.discount("one", discounted=False, reason="found", who="kim")
    assert (store.summary().total, told(store)) == (20, [("many", "one/2026-03-02", 20)])


def test_machines_of_the_list_take_no_place(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, [f"PC-{number}" for number in range(60)])
    store.add(visits(range(60), station="hog"))
    assert (store.summary().total, store.summary().finished, told(store)) == (60, 60, [])
    store.add(visits(range(100, 130), station="hog"))
    assert (store.summary().total, told(store)) == (70, [("many", "hog/2026-03-02", 20)])
    expect(store, tmp_path, [f"PC-{number}" for number in range(100, 115)])
    assert (store.summary().total, told(store)) == (85, [("many", "hog/2026-03-02", 5)])


def test_a_line_of_the_list_stands_for_one_machine(store: Store, tmp_path: Path) -> None:
    (tmp_path / "inventory.csv").write_text("name,serial\nPC-1,SN-1\nPC-2,SN-2\n")
    store.import_inventory(tmp_path / "inventory.csv")
    store.mark("PC-2", "re-imaged", reason="x", who="kim")
    for number in range(40):
        store.add(visit(number, Machine(None, "SN-1", disk(number), (f"X-{number}",)), station="hog"))
        store.add(visit(100 + number, Machine(None, "SN-2", disk(100 + number), ()), station="hog"))
    assert store.summary().total == 12
    assert told(store)[0] == ("many", "hog/2026-03-02", 68)
    store.discount("hog", discounted=True, reason="lost", who="kim")
    store.add(visit(200, Machine(None, "SN-1", disk(200), ("PC-1",)), station="good"))
    assert store.summary().total == 2


def test_a_held_machine_is_found_and_counts_once_a_person_speaks_of_it(store: Store) -> None:
    store.add(visits(range(30), station="hog"))
    (row,) = store.find("PC-25")
    assert row.held
    assert row.code
    assert store.find(row.code) == (row,)
    assert store.mark("PC-25", "re-imaged", reason="x", who="kim").held is None
    assert store.confirm("PC-26", who="kim").held is None
    assert (store.summary().total, told(store)) == (12, [("many", "hog/2026-03-02", 18)])
    store.unmark("PC-25", reason="a slip", who="kim")
    assert (store.summary().total, told(store)) == (11, [("many", "hog/2026-03-02", 19)])
    assert store.find("PC-25") == (row,)


@pytest.mark.parametrize("what", [What.COUNT, What.DISMISS])
def test_a_decision_is_of_what_was_there_when_it_was_made(store: Store, what: What) -> None:
    store.add(visits(range(30), station="hog"))
    first = store.disputes()[0].code
    store.settle(first, what, reason="x", who="kim")
    counted = 30 if what is What.COUNT else 10
    assert (store.summary().total, told(store), store.summary().undecided) == (counted, [], 0)
    store.add(visits(range(100, 105), station="hog"))
    (new,) = [one for one in store.disputes() if one.settled is None]
    assert (new.kind, new.machines, store.summary().total) == ("many", 5, counted)
    assert new.code != first
    assert (store.summary().contradictions, store.summary().undecided) == (1, 5)
    store.settle(new.code, What.COUNT, reason="x", who="kim")
    assert (store.summary().total, told(store)) == (counted + 5, [])
    store.settle(first, None, reason="", who="kim")
    assert (store.summary().total, told(store)) == (15, [("many", "hog/2026-03-02", 20)])
    store.add(visits(range(200, 202), station="hog"))
    assert sum(machines for *_, machines in told(store)) == 22
    store.settle(first, What.COUNT, reason="x", who="kim")
    assert (store.summary().total, [machines for *_, machines in told(store)]) == (35, [2])


def test_a_decision_is_taken_back_also_where_it_holds_nothing_any_more(store: Store, tmp_path: Path) -> None:
    store.add(visits(range(12), station="hog"))
    code = store.disputes()[0].code
    store.settle(code, What.COUNT, reason="x", who="kim")
    expect(store, tmp_path, ["PC-1", "PC-2"])
    assert store.settle(code, None, reason="", who="kim").machines == 0
    assert (store.summary().total, store.disputes()) == (12, [])


def test_a_decision_on_namesakes_is_of_those_that_were_there(store: Store) -> None:
    store.new_machines_a_day = 1000
    same = [Machine(None, None, disk(number), ("A-" + str(number), "SAME")) for number in range(30)]
    store.add([one for number in range(20) for one in visit(number, same[number])])
    assert (store.summary().total, told(store)) == (1, [("namesakes", "hog/SAME", 19)])
    code = next(one.code for one in store.disputes() if one.kind == "namesakes")
    store.settle(code, What.COUNT, reason="x", who="kim")
    assert store.summary().total == 20
    store.add([one for number in range(20, 30) for one in visit(number, same[number])])
    assert store.summary().total == 20
    assert [machines for kind, _, machines in told(store) if kind == "namesakes"] == [10]


def test_what_would_count_is_what_then_does(store: Store) -> None:
    store.add(visits(range(40), station="hog"))
    store.add(visits(range(10, 20), station="good", run=100))
    store.add(visits(range(20, 25), station="hog", run=200, minute=DAY))
    (dispute,) = store.disputes()
    assert (store.summary().total, dispute.machines) == (25, 15)
    assert dispute.would.startswith("15 machines")
    store.settle(dispute.code, What.COUNT, reason="x", who="kim")
    assert store.summary().total == 40


def test_parts_of_a_split_machine_take_places(store: Store) -> None:
    machines = [Machine(uuid(1), None, disk(number), (f"PC-{number}",)) for number in range(30)]
    store.add([one for number, machine in enumerate(machines) for one in visit(number, machine)])
    assert store.summary().total == 1
    rows = store.split("PC-0", by="name", reason="x", who="kim")
    assert Counter(row.held is None for row in rows) == {True: 10, False: 20}
    assert store.summary().total == 10


def test_a_greater_number_of_the_same_day_lets_more_count(store: Store) -> None:
    store.add(visits(range(40), station="hog"))
    store.new_machines_a_day = 25
    store.add(visits(range(40, 41), station="hog"))
    assert (store.summary().total, told(store)) == (25, [("many", "hog/2026-03-02", 16)])


def test_a_stick_without_a_place_for_a_machine_leaves_it_to_the_others(store: Store) -> None:
    """It shows the machines that somebody else will visit on many days, each day after its last place."""
    for day in range(10):
        store.add(visits(range(1000 + 10 * day, 1010 + 10 * day), station="hog", run=1000, minute=day * DAY))
        store.add(visits(range(3), station="hog", run=5000 + 10 * day, minute=day * DAY))
    assert store.summary().total == 100
    store.add(visits(range(3), station="good", run=9000, minute=10 * DAY))
    assert store.summary().total == 103


def _events(chance: random.Random) -> list[ReceivedEvent]:
    """Events of a few runs, most of them on a disk of their own, and some on ever other machines."""
    found = []
    for _ in range(chance.choice([1, 2, 6])):
        run = chance.randint(1, 60)
        shown = run if chance.random() < 0.75 else chance.randint(1, 60)
        names = [f"PC-{shown}"] if chance.random() < 0.6 else chance.choice([["SAME"], []])
        names += ["A"] if chance.random() < 0.1 else []
        firmware = uuid(shown) if chance.random() < 0.1 else None
        machine = Machine(firmware, None, disk(shown), tuple(names))
        station = ("north-1", "north-2", "everywhere")[run % 3]
        told = Told(run, machine, station=station, minute=chance.choice([0, 0, DAY, 2 * DAY]))
        status = chance.choice(["repaired", "failed"])
        one = told.tell("outcome", sequence=chance.randint(1, 5), status=status, reason="a")
        found.append(replace(one, site="north", everywhere=station == "everywhere"))
    return found


def _step(store: Store, folder: Path, chance: random.Random) -> None:
    kind = chance.random()
    if kind < 0.7:
        store.add(_events(chance))
    elif kind < 0.78:
        station = chance.choice(["north-1", "north-2", "everywhere"])
        store.discount(station, discounted=chance.random() < 0.5, reason="x", who="kim")
    elif kind < 0.9:
        held = [one.code for one in store.disputes() if one.kind in {"many", "namesakes"}]
        if held:
            what = chance.choice([What.COUNT, What.DISMISS, None])
            store.settle(chance.choice(held), what, reason="x", who="kim")
    elif kind < 0.94:
        expect(store, folder, [f"PC-{chance.randint(1, 60)}" for _ in range(4)])
    else:
        for step in random_steps(chance.randint(0, 10**6), 2):
            if step.kind not in {"add", "rebuild"}:
                take_step(store, folder, step)


@pytest.mark.parametrize("seed", range(10))
def test_places_are_given_as_a_recount_would(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bearing, "RECENT", 2)
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    with Store.open(tmp_path / "tally.db") as store:
        store.new_machines_a_day = 1 + seed % 3
        for _ in range(50):
            _step(store, tmp_path, chance)
            assert faults_of(store) == ()
            assert store.summary().total == len(store.machines(limit=None))
            seen += _look(tmp_path / "tally.db", store, store.new_machines_a_day)
    assert seen["many"]


def _look(path: Path, store: Store, most: int) -> Counter[str]:
    """No station counts too many on a day, and what is held is found by all it is called and is told."""
    with closing(sqlite3.connect(path)) as reader:
        placed = "SELECT max(n) FROM (SELECT count(*) n FROM brought WHERE state = 1 GROUP BY place)"
        assert (reader.execute(placed).fetchone()[0] or 0) <= most
        shown = "SELECT machines.key, code, runs.serial_key, first_name_key FROM runs JOIN machines"
        found = reader.execute(f"{shown} ON machines.key = runs.machine WHERE held IS NOT NULL").fetchall()
    told = {one.code: one.kind for one in store.disputes()}
    seen = Counter(told.values())
    for key, *called in found:
        for word in filter(None, called):
            (row,) = [one for one in store.find(word) if one.key == key]
            assert row.held_by in told
    return seen
