"""What a person says of a machine is counted apart from what a machine proved, until somebody looks again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.earlier_tallies import make_earlier_tally
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.model import Machine
from unbrick.tally.office.marks import statement_of
from unbrick.tally.records import Basis, Statement, StatementError
from unbrick.tally.store.store import Store

WARD_1 = Machine(None, None, disk(1), ("WARD-1",))
LATER = START + timedelta(minutes=30)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()


def expect(store: Store, folder: Path, text: str) -> None:
    (folder / "inventory.csv").write_text("name,serial,site\n" + text)
    store.import_inventory(folder / "inventory.csv")


def test_a_mark_moves_a_machine_out_of_expected(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "CT-SCANNER,,radiology\nWARD-2,,ward\n")
    row = store.mark("ct-scanner", "hands-off-medical", reason="vendor only", who="kim", at=LATER)
    assert (row.name, row.status, row.reason, row.site) == (
        "CT-SCANNER",
        "hands-off-medical",
        "vendor only",
        "radiology",
    )
    assert (row.basis, row.marked_by, row.marked_at) == (Basis.MARKED, "kim", LATER)
    summary = store.summary()
    assert (summary.total, summary.expected, summary.finished) == (2, 1, 1)
    assert (summary.marked, summary.proved) == ({"hands-off-medical": 1}, {})


def test_a_machine_that_nobody_knew_is_counted_from_then_on(store: Store) -> None:
    store.mark("KIOSK-9", "fixed-by-reboots", reason="15th reboot", who="kim", new=True)
    assert store.summary().by_status == {"fixed-by-reboots": 1}
    store.add(Told(1, Machine(None, None, disk(1), ("kiosk-9",))).story("needs-key"))
    assert store.summary().by_status == {"fixed-by-reboots": 1}


@pytest.mark.parametrize(
    ("before", "mark", "after", "shown"),
    [
        ("needs-key", "re-imaged", None, "re-imaged"),
        ("repaired", "re-imaged", None, "re-imaged"),
        ("needs-key", "re-imaged", "needs-key", "re-imaged"),
        ("needs-key", "re-imaged", "failed", "re-imaged"),
        ("needs-key", "re-imaged", "healthy", "healthy"),
        ("needs-key", "re-imaged", "found", "found"),
        ("needs-key", "fixed-by-reboots", "repaired", "repaired"),
        ("repaired", "confirmed", None, "confirmed"),
        ("repaired", "confirmed", "healthy", "confirmed"),
        ("repaired", "confirmed", "needs-key", "confirmed"),
        ("repaired", "confirmed", "found", "found"),
        ("repaired", "confirmed", "undone", "undone"),
    ],
)
def test_a_persons_word_counts_until_somebody_looks_inside_again(
    store: Store, before: str, mark: str, after: str | None, shown: str
) -> None:
    store.add(Told(1, WARD_1).story(before))
    if mark == "confirmed":
        store.confirm("ward-1", who="kim", at=LATER)
    else:
        store.mark("ward-1", mark, reason="seen by hand", who="kim", at=LATER)
    if after:
        store.add(Told(2, WARD_1, minute=60).story(after))
    assert store.summary().by_status == {shown: 1}


@pytest.mark.parametrize("statement", ["re-imaged", "confirmed"])
def test_a_visit_that_sends_for_a_person_is_not_hidden_by_a_mark_before_it(
    store: Store, statement: str
) -> None:
    store.add(Told(1, WARD_1).story("needs-key", "key-missing"))
    if statement == "confirmed":
        store.confirm("WARD-1", who="kim")
    else:
        store.mark("WARD-1", statement, reason="by hand", who="kim")
    told = Told(2, WARD_1)
    store.add([told.tell("run-started"), told.tell("found"), told.outcome("needs-hands", "hibernated")])
    assert store.summary().by_status == {"needs-hands": 1}
    assert store.summary().remaining == 1


def test_what_a_repair_proved_ends_with_the_mark_that_the_disk_is_another(store: Store) -> None:
    store.add(Told(1, WARD_1).story("repaired"))
    store.mark("WARD-1", "re-imaged", reason="new image", who="kim")
    store.add(Told(2, WARD_1).story("needs-hands", "unreadable-file"))
    assert store.summary().by_status == {"needs-hands": 1}


def test_a_clock_that_is_put_back_makes_no_mark_older_and_no_visit_newer(store: Store) -> None:
    store.add(Told(1, WARD_1, minute=24 * 60).story("needs-hands", "hibernated"))
    store.mark("WARD-1", "re-imaged", reason="new disk", who="kim", at=START)
    assert store.summary().by_status == {"re-imaged": 1}
    store.add(Told(2, WARD_1, minute=-24 * 60).story("healthy"))
    assert store.summary().by_status == {"healthy": 1}


def test_a_mark_does_not_cover_a_machine_that_comes_later_with_the_same_name(store: Store) -> None:
    store.add(Told(1, WARD_1).story("needs-key", "key-missing"))
    store.mark("WARD-1", "re-imaged", reason="by hand", who="kim")
    store.add(Told(2, Machine(None, None, disk(2), ("WARD-1",))).story("needs-key", "key-missing"))
    assert store.summary().by_status == {"re-imaged": 1, "needs-key": 1}


def test_a_mark_of_a_machine_not_seen_yet_is_for_the_first_that_comes(store: Store) -> None:
    store.mark("WARD-1", "re-imaged", reason="by hand", who="kim", new=True)
    for number in (3, 2, 1):
        store.add(Told(number, Machine(None, None, disk(number), ("WARD-1",))).story("needs-key"))
    assert {row.key: row.status for row in store.machines()} == {
        f"disk:{disk(3)}:WARD-1": "re-imaged",
        f"disk:{disk(2)}:WARD-1": "needs-key",
        f"disk:{disk(1)}:WARD-1": "needs-key",
    }


def test_a_mark_stays_with_its_machine_when_more_is_learned_of_it(store: Store) -> None:
    store.add(Told(1, WARD_1).story("needs-key", "key-missing"))
    store.mark("WARD-1", "re-imaged", reason="by hand", who="kim")
    store.add(Told(2, Machine(uuid(1), None, disk(1), ("WARD-1",))).story("needs-key", "key-missing"))
    (row,) = store.machines()
    assert (row.key, row.status) == (f"smbios:{uuid(1)}", "re-imaged")


def test_the_last_statement_counts_and_each_can_be_taken_back(store: Store) -> None:
    store.add(Told(1, WARD_1).story("needs-key", "key-missing"))
    store.mark("WARD-1", "firmware-locked", reason="no password", who="kim", at=LATER)
    assert store.summary().remaining == 1
    store.mark("WARD-1", "replaced", reason="spare", who="lee", at=LATER)
    assert store.summary().marked == {"replaced": 1}
    said, row = store.unmark("ward-1", reason="it was WARD-2", who="kim", at=LATER)
    assert row is not None
    assert (said.status, said.who, said.taken_back_by, said.taken_back_why, said.taken_back_at) == (
        "replaced",
        "lee",
        "kim",
        "it was WARD-2",
        LATER,
    )
    assert (row.status, row.reason, row.marked_by) == ("firmware-locked", "no password", "kim")
    _, row = store.unmark("WARD-1", reason="unlocked", who="lee")
    assert row is not None
    assert (row.status, row.reason, row.basis) == ("needs-key", "key-missing", Basis.PROVED)
    with pytest.raises(StatementError, match="nothing to take back"):
        store.unmark("WARD-1", reason="x", who="lee")
    assert [(one.status, one.taken_back_why) for one in store.said_of(row)] == [
        ("firmware-locked", "unlocked"),
        ("replaced", "it was WARD-2"),
    ]


def test_what_was_said_before_a_machine_came_can_be_taken_back_too(store: Store) -> None:
    store.mark("WARD-1", "re-imaged", reason="by hand", who="kim", new=True)
    store.add(Told(1, WARD_1).story("needs-key"))
    store.confirm("WARD-1", who="kim")
    for left in ("re-imaged", "needs-key"):
        store.unmark("WARD-1", reason="x", who="kim")
        assert store.summary().by_status == {left: 1}


def test_taking_back_the_only_word_of_a_machine_leaves_nothing_to_count(store: Store) -> None:
    store.mark("WARD-1", "replaced", reason="spare", who="lee", new=True)
    assert store.unmark("WARD-1", reason="a typing mistake", who="lee")[1] is None
    assert store.summary().total == 0
    with pytest.raises(StatementError, match="nobody knows"):
        store.unmark("WARD-1", reason="x", who="lee")


def test_a_mark_needs_a_reason_to_be_taken_back(store: Store) -> None:
    store.mark("WARD-1", "replaced", reason="spare", who="lee", new=True)
    with pytest.raises(StatementError, match="why"):
        store.unmark("WARD-1", reason=" ", who="lee")
    assert store.summary().by_status == {"replaced": 1}


def test_what_a_typing_mistake_invented_before_this_version_can_be_taken_away(tmp_path: Path) -> None:
    make_earlier_tally(tmp_path / "old.db", "names")
    connection = sqlite3.connect(tmp_path / "old.db")
    words = "('TYPO-7','TYPO-7','confirmed','','kim',1772438400000000)"
    connection.execute(f"insert into statements (name_key, name, status, reason, who, at) values {words}")
    connection.commit()
    connection.close()
    with Store.open(tmp_path / "old.db") as store:
        before = store.summary().total
        assert store.unmark("typo-7", reason="a typing mistake", who="kim")[1] is None
        assert store.summary().total == before - 1
        assert faults_of(store) == ()


def test_a_mark_under_the_inventorys_name_holds_for_the_machine_with_that_serial(
    store: Store, tmp_path: Path
) -> None:
    expect(store, tmp_path, "PLANNED,SN-1,lab\n")
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("DESK-X",))).story("needs-key"))
    row = store.mark("planned", "re-imaged", reason="spare", who="kim", at=LATER)
    assert (row.name, row.status) == ("DESK-X", "re-imaged")
    assert store.summary().total == 1


def test_two_machines_of_one_name_are_told_apart_by_code(store: Store) -> None:
    store.add(Told(1, Machine(uuid(1), None, disk(1), ("CLONE",)), site="north").story("needs-key"))
    store.add(Told(2, Machine(uuid(2), None, disk(1), ("CLONE",)), site="south").story("needs-key"))
    with pytest.raises(StatementError, match="2 machines are called clone") as caught:
        store.mark("clone", "re-imaged", reason="x", who="kim")
    assert store.summary().by_status == {"needs-key": 2}
    rows = store.machines()
    for row in rows:
        assert f"{row.code} (CLONE at {row.site}, last seen 2026-03-02 08:00 UTC)" in (
            caught.value.hint or ""
        )
    assert rows[1].code is not None
    assert store.mark(rows[1].code.lower(), "re-imaged", reason="x", who="kim").key == rows[1].key
    assert [row.status for row in store.machines()] == ["needs-key", "re-imaged"]
    store.unmark(rows[1].code.replace("-", " "), reason="x", who="kim")
    assert store.summary().by_status == {"needs-key": 2}


def test_a_machine_is_meant_by_serial_number_or_by_its_line_in_the_inventory(
    store: Store, tmp_path: Path
) -> None:
    expect(store, tmp_path, "PLANNED-7,SN-7,lab\nPLANNED-8,SN.8.X,lab\n")
    store.add(Told(1, Machine(uuid(1), "SN-7", disk(1), ("DESK-X",))).story("needs-key"))
    store.add(Told(2, Machine(uuid(2), "SN-9", disk(2), ("DESK-Y",))).story("needs-key"))
    for wanted, name in (
        ("sn-7", "DESK-X"),
        ("planned-7", "DESK-X"),
        ("SN.8.x", "PLANNED-8"),
        ("sn-9", "DESK-Y"),
    ):
        assert store.confirm(wanted, who="kim").name == name
    assert store.summary().by_status == {"confirmed": 3}


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("WARD-33", "WARD-3"),
        ("WRAD-3", "WARD-3"),
        ("WARD3", "WARD-3"),
        ("ward-3x", "WARD-3"),
        ("SN-10", "SN-1"),
    ],
)
def test_a_slip_of_the_pen_invents_nothing_and_is_told_what_is_alike(
    store: Store, tmp_path: Path, slip: str, meant: str
) -> None:
    expect(store, tmp_path, "WARD-3,SN-1,north\nOTHER-PC,,south\n")
    for say in (store.confirm, lambda wanted, who: store.mark(wanted, "retired", reason="x", who=who)):
        with pytest.raises(StatementError, match=f"nobody knows a machine {slip}") as caught:
            say(slip, who="kim")
        assert meant in (caught.value.hint or "")
        assert "--new" in (caught.value.hint or "")
    assert store.summary().by_status == {"expected": 2}


def test_a_slip_in_a_sticker_code_is_told_the_code_that_is_known(store: Store) -> None:
    store.add(Told(1, WARD_1).story("needs-key"))
    code = store.machines()[0].code or ""
    slip = ("3" if code[0] != "3" else "4") + code[1:]
    with pytest.raises(StatementError) as caught:
        store.confirm(slip, who="kim")
    assert f"{code} (WARD-1)" in (caught.value.hint or "")
    assert store.summary().by_status == {"needs-key": 1}


@pytest.mark.parametrize(
    "machine",
    [
        Machine(uuid(1), None, None, ()),
        Machine(uuid(1), None, disk(2), ()),
        Machine(uuid(1), "SN-9", disk(2), ()),
    ],
)
def test_a_mark_counts_whatever_its_machine_is_known_by(
    store: Store, tmp_path: Path, machine: Machine
) -> None:
    expect(store, tmp_path, "A-1,SN-2,ward\nB-1,SN-4,ward\n")
    store.add(Told(1, machine).story("needs-key"))
    # These contradict the inventory: their names are found, but the machine does not go by them.
    for number, name in enumerate(("A-1", "B-1"), start=2):
        store.add(Told(number, replace(machine, serial="SN-8", hostnames=(name,))).story("needs-key"))
    (code,) = {row.code for row in store.machines() if row.code}
    assert store.mark(code or "", "re-imaged", reason="spare", who="kim").status == "re-imaged"
    assert store.unmark(code or "", reason="no", who="kim")[0].status == "re-imaged"
    assert store.confirm(code or "", who="kim").status == "confirmed"


@pytest.mark.parametrize("wanted", ["WARD-1", "sn-1", "code"])
@pytest.mark.parametrize("new", [True, False])
def test_what_a_medium_has_seen_is_not_the_one_that_none_has_seen(
    store: Store, wanted: str, new: bool
) -> None:
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("needs-key"))
    code = store.machines()[0].code or ""
    called = code if wanted == "code" else wanted
    with pytest.raises(StatementError, match="a medium has seen every machine that is called") as caught:
        store.mark(called, "re-imaged", reason="x", who="me", new=new, unseen=True)
    assert code in str(caught.value)
    assert "leave out --unseen" in (caught.value.hint or "")
    with pytest.raises(StatementError, match="a medium has seen every machine"):
        store.confirm(called, who="me", new=new, unseen=True)
    with pytest.raises(StatementError, match="a medium has seen every machine"):
        store.unmark("WARD-1", reason="x", who="me", unseen=True)
    store.add(Told(2, Machine(uuid(2), "SN-2", disk(2), ("WARD-1",))).story("needs-key"))
    assert store.summary().by_status == {"needs-key": 2}


@pytest.mark.parametrize("text", ["re-imaged", "Re-Imaged", "RE IMAGED", "re_imaged", "reimaged"])
def test_status_words_are_understood_as_people_write_them(text: str) -> None:
    assert statement_of(text) is Statement.RE_IMAGED


@pytest.mark.parametrize("text", ["repaired", "", "expected", "gone fishing"])
def test_what_only_a_machine_can_prove_is_no_mark(store: Store, text: str) -> None:
    with pytest.raises(StatementError, match="no status that a person can give"):
        store.mark("WARD-1", text, reason="x", who="kim", new=True)
    assert store.summary().total == 0


@pytest.mark.parametrize(
    ("name", "reason", "who"),
    [("", "x", "kim"), ("a\nb", "x", "kim"), ("a" * 65, "x", "kim"), ("A", " ", "kim"), ("A", "x", "")],
)
def test_a_mark_says_of_what_why_and_by_whom(store: Store, name: str, reason: str, who: str) -> None:
    with pytest.raises(StatementError):
        store.mark(name, "replaced", reason=reason, who=who, new=True)
    assert store.summary().total == 0
