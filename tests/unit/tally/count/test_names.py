"""One computer is one name, however an inventory, a directory or a person writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.earlier_tallies import make_earlier_tally
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.count.names import name_key, serial_key
from unbrick.tally.store.store import Store


@pytest.mark.parametrize(
    "written",
    [
        "pc-7",
        "PC-7",
        " pc-7 ",
        "pc-7.corp.example",
        "PC-7.corp.example.",
        "PC-7$",
        "CORP\\PC-7",
        "CORP\\pc-7$",
        "\\\\PC-7",
        "pc-7.local",
        "corp.example\\PC-7$",
    ],
)
def test_a_host_name_is_compared_bare(written: str) -> None:
    assert name_key(written) == "PC-7"


@pytest.mark.parametrize("whole", ["10.0.0.5", "1.20", "V1.2", "2.RACK", "A.B C.D", "FE80::1", "DR. WHO"])
def test_what_is_no_host_in_a_domain_stays_whole(whole: str) -> None:
    assert name_key(whole) == whole


def test_a_serial_number_keeps_its_dots() -> None:
    assert serial_key(" ab.cd ") == "AB.CD"


@given(st.text(max_size=80))
def test_a_key_is_its_own_key(text: str) -> None:
    key = name_key(text)
    assert name_key(key) == key


def test_inventory_reports_and_marks_meet_under_the_bare_name(tmp_path: Path) -> None:
    (tmp_path / "ad.csv").write_text("Name,Site\npc-1.corp.example,north\nCORP\\PC-2$,south\nPC-3$,east\n")
    with Store.open(tmp_path / "tally.db") as store:
        store.import_inventory(tmp_path / "ad.csv")
        for number in (1, 2):
            machine = Machine(uuid(number), None, disk(number), (f"PC-{number}",))
            store.add(Told(number, machine).story("needs-key"))
        store.mark("pc-2.corp.example", "re-imaged", reason="spare", who="kim")
        assert [row.status for row in store.machines()] == ["needs-key", "re-imaged", "expected"]
        assert [row.site for row in store.machines()] == ["north", "south", "east"]
        assert faults_of(store) == ()


def test_serial_numbers_that_share_a_beginning_are_different_machines(tmp_path: Path) -> None:
    (tmp_path / "serials.csv").write_text("serial,site\nAB.CD,north\nAB.EF,south\n")
    with Store.open(tmp_path / "tally.db") as store:
        assert store.import_inventory(tmp_path / "serials.csv").added == 2
        store.add(Told(1, Machine(uuid(1), "AB.EF", disk(1), ("W-1",))).story("repaired"))
        assert [(row.name, row.status) for row in store.machines()] == [
            ("AB.CD", "expected"),
            ("W-1", "repaired"),
        ]
        assert faults_of(store) == ()


def test_a_database_of_the_first_version_is_brought_forward(tmp_path: Path) -> None:
    make_earlier_tally(tmp_path / "tally.db", "names")
    with Store.open(tmp_path / "tally.db") as store:
        assert faults_of(store) == ()
        # Five computers, a list of serial numbers, and a mark that was taken back; nine rows before.
        assert [(row.name, row.status) for row in store.machines()] == [
            ("AB.CD", "expected"),
            ("DESK", "needs-key"),
            ("w-1.corp.example", "repaired"),
            ("CORP\\W-2", "re-imaged"),
            ("W-3", "expected"),
        ]
        assert store.summary(START).events == 9
