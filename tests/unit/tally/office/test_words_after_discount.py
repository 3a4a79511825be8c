"""A person's word stays when the reports of the station that showed the machine leave the count."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.records import StatementError
from unbrick.tally.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()
        before = (opened.summary(START), opened.machines(limit=None), opened.disputes())
        opened.rebuild()
        assert (opened.summary(START), opened.machines(limit=None), opened.disputes()) == before


def visit(store: Store, number: int, name: str, status: str, station: str = "lost") -> None:
    machine = Machine(None, f"S-{name}", disk(number), (name,))
    store.add(Told(100 * number + len(station), machine, station=station).story(status))


def lose(store: Store, *, discounted: bool = True) -> list[str]:
    return [row.name for row in store.discount("lost", discounted=discounted, reason="lost", who="kim")]


def statuses(store: Store) -> dict[str, str]:
    return {row.name: row.status for row in store.machines(limit=None)}


@pytest.mark.parametrize("listed", [True, False])
def test_what_persons_said_stays_and_the_machine_is_known_by_it(
    store: Store, tmp_path: Path, listed: bool
) -> None:
    if listed:
        (tmp_path / "list.csv").write_text("name,serial,site\nH1,S-H1,st-marys\nH2,,st-marys\nH3,,st-marys\n")
        store.import_inventory(tmp_path / "list.csv")
    visit(store, 1, "H1", "needs-key")
    visit(store, 2, "H2", "repaired")
    visit(store, 3, "H3", "repaired")
    store.mark("H1", "re-imaged", reason="done by me", who="kim")
    store.confirm("H2", who="kim")
    before = store.find("H1")[0].code
    assert lose(store) == ["H3"]
    expected = {"H3": "expected"} if listed else {}
    assert statuses(store) == {"H1": "re-imaged", "H2": "confirmed", **expected}
    (row,) = store.find("H1")
    assert (row.marked_by, row.code, row.run) == ("kim", before, None)
    assert [one.status for one in store.said_of(row)] == ["re-imaged"]
    assert len(store.find(before or "")) == 1
    store.mark("H1", "retired", reason="sold", who="kim")
    assert statuses(store)["H1"] == "retired"
    store.unmark("H1", reason="no", who="kim")
    assert statuses(store)["H1"] == "re-imaged"
    lose(store, discounted=False)
    assert statuses(store) == {"H1": "re-imaged", "H2": "confirmed", "H3": "repaired"}


def test_a_word_that_a_disbelieved_visit_had_ended_counts_again(store: Store) -> None:
    visit(store, 1, "H1", "needs-key")
    store.mark("H1", "re-imaged", reason="done", who="kim")
    store.add(Told(7, Machine(None, "S-H1", disk(1), ("H1",)), station="lost").story("found"))
    assert statuses(store) == {"H1": "found"}
    lose(store)
    assert statuses(store) == {"H1": "re-imaged"}


def test_a_station_that_is_believed_and_looks_inside_has_the_last_word(store: Store) -> None:
    visit(store, 1, "H1", "needs-key")
    store.mark("H1", "re-imaged", reason="done", who="kim")
    lose(store)
    visit(store, 1, "H1", "found", station="good")
    assert statuses(store) == {"H1": "found"}


def test_where_the_word_is_taken_back_too_nobody_knows_the_machine(store: Store) -> None:
    visit(store, 1, "H1", "needs-key")
    store.mark("H1", "re-imaged", reason="done", who="kim")
    lose(store)
    store.unmark("H1", reason="a slip", who="kim")
    assert statuses(store) == {}
    with pytest.raises(StatementError, match="nobody knows"):
        store.mark("H1", "retired", reason="x", who="kim")


def test_a_list_that_comes_later_has_the_machine_once(store: Store, tmp_path: Path) -> None:
    visit(store, 1, "H1", "needs-key")
    store.mark("H1", "re-imaged", reason="done", who="kim")
    lose(store)
    (tmp_path / "list.csv").write_text("name,serial,site\nH1,S-H1,st-marys\n")
    store.import_inventory(tmp_path / "list.csv")
    assert statuses(store) == {"H1": "re-imaged"}
    assert store.summary().sites == {"st-marys": {"re-imaged": 1}}
