"""A person's word stays with its machine, whatever becomes of the name that it was said of."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.count import bearing
from unbrick.tally.store.store import Store

NAMELESS = Machine(uuid(1), None, disk(1), ())
NAMED = Machine(uuid(1), None, disk(1), ("WARD-1",))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()


def expect(store: Store, folder: Path, text: str) -> None:
    (folder / "list.csv").write_text("name,serial,site\n" + text)
    store.import_inventory(folder / "list.csv")


def mark(store: Store, called: str) -> None:
    assert store.mark(called, "re-imaged", reason="by hand", who="kim").status == "re-imaged"


def test_a_word_stays_where_the_report_of_the_name_counts_no_more(store: Store) -> None:
    store.add(Told(1, NAMELESS).story("needs-key"))
    store.add(Told(2, NAMED, station="lost").story("needs-key"))
    mark(store, "WARD-1")
    store.discount("lost", discounted=True, reason="lost", who="kim")
    (row,) = store.machines()
    assert (row.name, row.status) == (disk(1), "re-imaged")
    assert [one.status for one in store.said_of(row)] == ["re-imaged"]
    said, _ = store.unmark(row.code or "", reason="no", who="kim")
    assert said.status == "re-imaged"


def test_a_word_stays_where_a_list_contradicts_the_name(store: Store, tmp_path: Path) -> None:
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ())).story("needs-key"))
    store.add(Told(2, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("needs-key"))
    mark(store, "WARD-1")
    expect(store, tmp_path, "WARD-1,SN-7,\n")
    assert {row.name: row.status for row in store.machines()} == {"SN-1": "re-imaged", "WARD-1": "expected"}


def test_a_word_stays_when_its_machine_becomes_known_by_other_things(store: Store) -> None:
    store.add(Told(1, Machine(None, "SN-1", disk(1), ())).story("needs-key"))
    mark(store, "SN-1")
    store.add(Told(2, Machine(uuid(1), "SN-2", disk(1), ("WARD-1",))).story("failed"))
    (row,) = store.machines()
    assert (row.name, row.status) == ("WARD-1", "re-imaged")


@pytest.mark.parametrize("of_first", [True, False])
def test_after_a_merge_is_taken_back_a_word_is_with_the_part_it_was_said_of(
    store: Store, of_first: bool
) -> None:
    machines = [Machine(uuid(number), None, disk(number), (f"WARD-{number}",)) for number in (1, 2)]
    for number, machine in enumerate(machines if of_first else reversed(machines), start=1):
        store.add(Told(number, machine).story("needs-key"))
    store.merge("WARD-1", "WARD-2", reason="one board", who="kim")
    mark(store, "WARD-2")
    store.unmerge("WARD-1", who="kim")
    assert {row.name: row.status for row in store.machines()} == {
        "WARD-1": "needs-key",
        "WARD-2": "re-imaged",
    }


def test_a_run_that_a_word_was_said_of_bears_after_any_number_of_others(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bearing, "RECENT", 1)
    # The first one contradicts the list at first: the word is said of the second.
    expect(store, tmp_path, "WARD-1,SN-7,\n")
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("needs-key"))
    store.add(Told(2, Machine(uuid(1), "SN-1", disk(1), ())).story("needs-key"))
    mark(store, "SN-1")
    expect(store, tmp_path, "WARD-1,SN-1,\n")
    for number in range(3, 12):
        store.add(Told(number, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("needs-key"))
        assert faults_of(store) == ()
    assert [(row.name, row.status) for row in store.machines()] == [("WARD-1", "re-imaged")]


def test_a_word_is_found_where_the_run_it_was_said_of_did_not_bear(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bearing, "RECENT", 1)
    for number in range(1, 12):
        name = "WARD-2" if number in {2, 3} else "WARD-1"
        store.add(Told(number, Machine(uuid(1), "SN-1", disk(1), (name,))).story("needs-key"))
    mark(store, "WARD-2")
    store.add(Told(12, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("needs-key"))
    assert [row.status for row in store.machines()] == ["re-imaged"]


def test_the_names_of_a_run_kept_apart_hide_none_of_the_machine_s_own(store: Store) -> None:
    own = tuple(f"N-{number:02}" for number in range(16))
    other = tuple(f"A-{number:02}" for number in range(16))
    store.add(Told(1, Machine(uuid(1), None, disk(1), own)).story("needs-key"))
    store.add(Told(1, Machine(uuid(1), None, disk(1), other), station="other").story("repaired"))
    (row,) = store.machines()
    assert store.find("N-15") == store.find("A-00") == (row,)
    mark(store, "N-15")


def test_words_of_a_database_of_before_stay_with_their_machines(tmp_path: Path) -> None:
    path = tmp_path / "tally.db"
    with Store.open(path) as store:
        store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ())).story("needs-key"))
        mark(store, "SN-1")
        store.mark("WARD-2", "replaced", reason="by hand", who="kim", new=True)
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE statements SET name_key = name")
        database.execute("DELETE FROM schema_version WHERE version > 11")
    with Store.open(path) as store:
        assert faults_of(store) == ()
        assert {row.name: row.status for row in store.machines()} == {
            "SN-1": "re-imaged",
            "WARD-2": "replaced",
        }
