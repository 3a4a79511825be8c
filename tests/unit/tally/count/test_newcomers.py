"""What a station's key invents is bounded and seen: so many new machines a day, one of many of one name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.count.decisions import What
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store.store import Store

DAY = 24 * 60


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        opened.new_machines_a_day = 10
        yield opened
        assert faults_of(opened) == ()
        before = (opened.summary(START), opened.machines(limit=None), opened.disputes())
        opened.rebuild()
        assert (opened.summary(START), opened.machines(limit=None), opened.disputes()) == before


def visit(number: int, machine: Machine, *, station: str = "hog", minute: float = 0) -> list[ReceivedEvent]:
    return Told(number, machine, station=station, minute=minute).story("repaired")


def nameless(number: int) -> Machine:
    return Machine(None, None, disk(number), ())


def expect(store: Store, folder: Path, *lines: str) -> None:
    (folder / "inventory.csv").write_text("name,serial,site\n" + "".join(f"{line}\n" for line in lines))
    store.import_inventory(folder / "inventory.csv")


def told(store: Store) -> list[tuple[str, str, int]]:
    return [(one.kind, one.subject, one.machines) for one in store.disputes() if one.settled is None]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("at_once", [True, False])
def test_machines_beyond_a_stations_day_move_no_number(store: Store, named: bool, at_once: bool) -> None:
    stories = [
        visit(number, Machine(None, None, disk(number), (f"PC-{number}",) if named else ()))
        for number in range(30)
    ]
    batches = [[one for story in stories for one in story]] if at_once else stories
    for batch in batches:
        store.add(batch)
    summary = store.summary()
    assert (summary.total, summary.contradictions, summary.uncounted) == (10, 1, 20)
    assert told(store) == [("many", "hog/2026-03-02", 20)]
    (dispute,) = store.disputes()
    assert "hog" in dispute.text
    assert "30" in dispute.text
    store.settle(dispute.code, What.COUNT, reason="a bulk day", who="kim")
    assert (store.summary().total, store.summary().contradictions, store.summary().uncounted) == (30, 0, 0)
    store.settle(dispute.code, None, reason="", who="kim")
    assert (store.summary().total, store.summary().uncounted) == (10, 20)


def test_events_that_come_one_by_one_bring_one_machine(store: Store) -> None:
    for number in range(12):
        for one in visit(number, Machine(uuid(number + 1), f"SN-{number}", disk(number), (f"PC-{number}",))):
            store.add([one])
    assert (store.summary().total, told(store)) == (10, [("many", "hog/2026-03-02", 2)])


def test_saying_it_again_counts_no_machine_that_was_held_back(store: Store) -> None:
    for number in range(15):
        store.add(visit(number, nameless(number)))
    for number in range(15):
        store.add(visit(100 + number, nameless(number)))
    assert (store.summary().total, told(store)) == (10, [("many", "hog/2026-03-02", 5)])


def test_what_another_station_or_the_next_day_shows_counts(store: Store) -> None:
    for number in range(15):
        store.add(visit(number, nameless(number)))
    store.add(visit(50, nameless(12), station="good"))
    assert store.summary().total == 11
    store.add(visit(51, nameless(13), minute=DAY))
    assert store.summary().total == 12
    assert told(store) == [("many", "hog/2026-03-02", 3)]


def test_visits_to_known_machines_are_no_new_ones(store: Store) -> None:
    for number in range(60):
        store.add(visit(number, nameless(number % 10)))
    assert (store.summary().total, told(store)) == (10, [])


def test_a_station_that_is_discounted_takes_what_is_held_with_it(store: Store) -> None:
    for number in range(15):
        store.add(visit(number, nameless(number)))
    for number in range(20, 28):
        store.add(visit(number, Machine(None, None, disk(number), ("SAME",)), minute=DAY))
    assert {kind for kind, *_ in told(store)} == {"many", "namesakes"}
    store.discount("hog", discounted=True, reason="lost", who="kim")
    summary = store.summary()
    assert (summary.total, summary.contradictions, summary.uncounted) == (0, 0, 0)
    store.discount("hog", discounted=False, reason="found", who="kim")
    assert (store.summary().total, store.summary().uncounted) == (11, 12)


@pytest.mark.parametrize("at_once", [True, False])
def test_many_disks_of_one_name_are_one_machine_until_a_person_decides(store: Store, at_once: bool) -> None:
    store.new_machines_a_day = 1000
    stories = [visit(number, Machine(None, None, disk(number), ("SAME",))) for number in range(40)]
    for batch in [[one for story in stories for one in story]] if at_once else stories:
        store.add(batch)
    assert store.summary().total == 1
    (dispute,) = store.disputes()
    assert (dispute.kind, dispute.machines) == ("namesakes", 39)
    assert "40 machines" in dispute.text
    store.settle(dispute.code, What.COUNT, reason="clones", who="kim")
    assert (store.summary().total, store.summary().uncounted) == (40, 0)
    store.settle(dispute.code, None, reason="", who="kim")
    assert (store.summary().total, store.summary().uncounted) == (1, 39)


def test_a_few_machines_of_one_name_count_as_before(store: Store) -> None:
    for number in range(3):
        store.add(visit(number, Machine(None, None, disk(number), ("RECEPTION",))))
    for site in range(8):
        machine = Machine(None, None, disk(100 + site), ("RECEPTION",))
        store.add(visit(10 + site, machine, station=f"site-{site}"))
    assert (store.summary().total, told(store)) == (11, [("name", "RECEPTION", 0)])


def test_a_scripted_fleet_passes_without_a_word(store: Store) -> None:
    store.new_machines_a_day = 1000
    for number in range(300):
        store.add(visit(number, Machine(uuid(number + 1), None, disk(number), (f"VM-{number}",))))
    for number in range(300):
        store.add(visit(500 + number, Machine(uuid(number + 1), None, disk(number), (f"VM-{number}",))))
    assert (store.summary().total, store.disputes(), store.summary().not_listed) == (300, [], {})


def test_machines_that_are_in_no_list_are_told_with_who_reported_them(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "PC-1,,st-marys", "PC-2,,st-marys")
    store.add(visit(1, Machine(None, None, disk(1), ("PC-1",)), station="good"))
    for number in range(2, 7):
        store.add(visit(number, nameless(number)))
    assert store.summary().not_listed == {"hog": 5}
    store.mark(
        store.find("D15C0000-0000-4000-8000-000000000003")[0].code or "", "retired", reason="x", who="kim"
    )
    assert store.summary().not_listed == {"hog": 4, "": 1}
