"""The inventory makes "not yet seen" a number: good lines work, bad ones are named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.errors import UsageError
from unbrick.model import Machine
from unbrick.tally.folder import TallyFolder
from unbrick.tally.office import inventory, staged_inventory
from unbrick.tally.office.inventory import parse_inventory, read_inventory
from unbrick.tally.records import InventoryCounts
from unbrick.tally.store.opening import Opening, open_to_serve
from unbrick.tally.store.store import Store
from unbrick.tally.trust.audit import AuditLog

HEADER = "name,serial,site,service,priority,owner\n"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return tmp_path / "inventory.csv"


def take(store: Store, csv: Path, text: str, *, replace: bool = False) -> InventoryCounts:
    csv.write_text(text, encoding="utf-8")
    return store.import_inventory(csv, replace=replace)


def test_what_has_not_reported_is_expected(store: Store, csv: Path) -> None:
    counts = take(store, csv, HEADER + "W-1,SN-1,st-marys,triage,1,kim\nW-2,,harbour,,,\n")
    assert (counts.added, counts.updated, counts.bad) == (2, 0, 0)
    summary = store.summary()
    assert (summary.total, summary.by_status, summary.expected) == (2, {"expected": 2}, 2)
    assert summary.sites == {"st-marys": {"expected": 1}, "harbour": {"expected": 1}}
    first = store.machines(status="expected")[0]
    assert (first.name, first.service, first.priority, first.owner, first.serial) == (
        "W-1",
        "triage",
        "1",
        "kim",
        "SN-1",
    )


def test_a_machine_is_found_by_any_of_its_names_in_any_case(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "w-1,,north,triage,1,kim\nW-2,,north,,,\n")
    store.add(Told(1, Machine(None, None, disk(1), ("OTHER", "W-1")), site="south").story("repaired"))
    assert [(row.name, row.site, row.status, row.service) for row in store.machines()] == [
        ("w-1", "north", "repaired", "triage"),
        ("W-2", "north", "expected", None),
    ]


def test_else_by_its_serial_number(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "PLANNED-7,sn-7,north,,,\n")
    store.add(Told(1, Machine(uuid(1), "SN-7", disk(1), ("DESKTOP-X",))).story("repaired"))
    (row,) = store.machines()
    assert (row.name, row.site, row.status) == ("DESKTOP-X", "north", "repaired")
    assert store.machines(name="planned-7") == (row,)


def test_the_order_of_inventory_and_events_does_not_matter(store: Store, csv: Path) -> None:
    store.add(Told(1, Machine(None, "SN-1", disk(1), ("W-1",)), site="south").story("repaired"))
    take(store, csv, HEADER + "W-1,,north,,,\nX-2,SN-1,east,,,\nX-3,,,,,\n")
    assert [(row.name, row.site, row.status) for row in store.machines()] == [
        ("W-1", "north", "repaired"),
        ("X-2", "east", "expected"),
        ("X-3", None, "expected"),
    ]


def test_columns_come_in_any_order_and_case_with_a_mark_and_other_columns(store: Store, csv: Path) -> None:
    counts = take(store, csv, "\ufeffOwner;SITE;rack; Computer Name ;Serial Number\nkim;north;9;W-1;SN-1\n")
    assert counts.added == 1
    (row,) = store.machines()
    assert (row.name, row.site, row.owner, row.serial) == ("W-1", "north", "kim", "SN-1")


def test_what_excel_and_powershell_write_is_read(store: Store, csv: Path) -> None:
    csv.write_bytes("name,site\r\nW-1,Zürich\r\n".encode("utf-16"))
    store.import_inventory(csv)
    csv.write_bytes("name,site\r\nW-1,Zürich\r\n".encode("utf-16-be"))  # as some programs do, without a mark
    assert read_inventory(csv).lines.keys() == {"W-1"}
    csv.write_bytes("name,site\r\nW-2,Zürich\r\n".encode("cp1252"))
    store.import_inventory(csv)
    assert [row.site for row in store.machines()] == ["Zürich", "Zürich"]


@pytest.mark.parametrize(
    "text",
    [
        '#TYPE Selected.Microsoft.ActiveDirectory.ADComputer\n"Name","Site"\n"W-1","n"\n"W-2","n"\n',
        "sep=;\nName;Site\nW-1;n\nW-2;n\n",
        '"sep=|"\nName|Site\nW-1|n\nW-2|n\n',
        "All computers\nGenerated 7/19/2024, 10:04; by kim\n\nName,Site\nW-1,n\nW-2,n\n",
        'The "whole" fleet\n"Computer\nName",Site\nW-1,n\nW-2,n\n',
        'Name,Notes,Site\nW-1,"two\nlines",n\nW-2,"three\n\nlines, ""quoted""",n\n',
        'Name,Notes,Site\r\nW-1,"two\r\nlines",n\r\nW-2,,n\r\n',
        "Name,Site\nW-1,n\nName,Site\nW-2,n\n",
    ],
)
def test_what_an_export_puts_around_its_list_is_no_machine(store: Store, csv: Path, text: str) -> None:
    counts = take(store, csv, text)
    assert (counts.added, counts.bad) == (2, 0)
    assert [(row.name, row.site) for row in store.machines()] == [("W-1", "n"), ("W-2", "n")]


def test_a_site_over_two_lines_is_one_text(store: Store, csv: Path) -> None:
    assert take(store, csv, 'Name,Site\r\nW-1,"North wing\r\nroom 4"\r\n').bad == 0
    assert [row.site for row in store.machines()] == ["North wing room 4"]


def test_a_name_over_two_lines_is_no_name(store: Store, csv: Path) -> None:
    counts = take(store, csv, 'Name,Site\n"W-1\nW-2",n\nW-3,n\n')
    assert [str(problem) for problem in counts.problems] == [
        "line 2: its name is too long or holds control characters"
    ]
    assert [row.name for row in store.machines()] == ["W-3"]


def test_a_stray_quotation_mark_hides_no_line_after_it(store: Store, csv: Path) -> None:
    counts = take(store, csv, 'Name,Notes,Site\nW-1,"19 inch,n\nW-2,,n\nW-3,24",n\nW-4,,n\n')
    assert [problem.line for problem in counts.problems] == [2, 4]
    assert [row.name for row in store.machines()] == ["W-2", "W-4"]


def test_a_bad_line_keeps_its_number_below_a_preamble(store: Store, csv: Path) -> None:
    counts = take(store, csv, 'Fleet\n\nName,Notes,Site\nW-1,"a\nb",n\n,,n\n')
    assert [problem.line for problem in counts.problems] == [6]


def test_again_it_updates_and_keeps_what_is_gone_unless_it_replaces(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "W-1,SN-1,north,,,\nW-2,,north,,,\nW-3,,north,,,\n")
    store.add(Told(1, Machine(None, "SN-1", disk(1), ("Q",)), site="quay").story("repaired"))
    counts = take(store, csv, HEADER + "W-1,SN-9,south,,,\nW-2,,north,,,\n")
    assert (counts.added, counts.updated, counts.unchanged, counts.removed) == (0, 1, 1, 0)
    assert [(row.name, row.site) for row in store.machines()] == [
        ("Q", "quay"),
        ("W-1", "south"),
        ("W-2", "north"),
        ("W-3", "north"),
    ]
    counts = take(store, csv, HEADER + "W-2,,north,,,\n", replace=True)
    assert counts.removed == 2
    assert [row.name for row in store.machines()] == ["Q", "W-2"]


def test_bad_lines_are_named_by_number_and_the_others_work(store: Store, csv: Path) -> None:
    lines = [
        "W-1,,,,,",
        ",,north,,,",
        '"W-3,,north,,,',
        "W-4" + "x" * 100 + ",,,,,",
        "W-5,," + "y" * 200 + ",,,",
        "W-6,,\x1b[2J,,,",
        "W-7" + "," * 9000,
        "",
        "=cmd|' /C calc'!A0,,,,,",
        "W-10",
    ]
    counts = take(store, csv, HEADER + "\n".join(lines) + "\n")
    assert counts.added == 2
    assert [problem.line for problem in counts.problems] == [3, 4, 5, 6, 7, 8, 10]
    assert "calc" not in " ".join(map(str, counts.problems))
    assert [row.name for row in store.machines()] == ["W-1", "W-10"]


def test_what_a_spreadsheet_would_run_loses_its_sign(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + 'W-1,=1+1,"=HYPERLINK(""http://x"",""y"")",@SUM(A1),+1,-kim\n')
    (row,) = store.machines()
    assert (row.serial, row.site, row.service, row.priority, row.owner) == (
        "1+1",
        'HYPERLINK("http://x","y")',
        "SUM(A1)",
        "1",
        "kim",
    )


def test_of_two_lines_that_contradict_each_other_neither_wins_silently(store: Store, csv: Path) -> None:
    counts = take(store, csv, HEADER + "W-1,SN-1,north,,,\nW-2,,,,,\nw-1,SN-2,south,,,\n")
    assert (counts.added, counts.bad, counts.contradicting) == (2, 0, 1)
    assert [str(one) for one in counts.contradictions] == [
        "line 4: the machine of line 2 with another serial number, site; what was known counts, else line 2"
    ]
    assert [(row.name, row.serial, row.site) for row in store.machines()] == [
        ("W-1", "SN-1", "north"),
        ("W-2", None, None),
    ]


def test_a_serial_number_that_did_not_count_belongs_to_nobody(store: Store, csv: Path) -> None:
    counts = take(store, csv, "name,serial\nW-1,SN-1\nW-1,SN-2\nW-2,SN-2\n")
    assert [one.line for one in counts.contradictions] == [3]
    assert [row.serial for row in store.machines()] == ["SN-1", "SN-2"]


def test_what_was_known_outlasts_lines_that_contradict_each_other(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "W-1,SN-1,north,triage,,\n")
    counts = take(store, csv, HEADER + "W-1,SN-2,south,lab,,\nW-1,SN-3,east,lab,,\n")
    assert (counts.updated, counts.contradicting) == (1, 1)
    (row,) = store.machines()
    assert (row.serial, row.site, row.service) == ("SN-1", "north", "lab")


def test_lines_of_one_machine_complete_each_other(store: Store, csv: Path) -> None:
    counts = take(
        store, csv, HEADER + "W-1,SN-1,,,,\nw-1.corp.example,,north,,,\nCORP\\W-1$,sn-1,North,,2,\n"
    )
    assert (counts.added, counts.contradicting) == (1, 0)
    (row,) = store.machines()
    assert (row.name, row.serial, row.site, row.priority) == ("W-1", "SN-1", "north", "2")


def test_one_name_in_two_domains_is_said(store: Store, csv: Path) -> None:
    counts = take(store, csv, "name\npc.north.example\npc.south.example\n")
    assert [one.line for one in counts.contradictions] == [3]
    assert "another domain" in str(counts.contradictions[0])


def test_one_serial_number_under_two_names_stays_with_the_first(store: Store, csv: Path) -> None:
    counts = take(store, csv, "name,serial\nW-1,SN-1\nW-2,SN-1\n")
    assert (counts.added, [one.line for one in counts.contradictions]) == (2, [3])
    assert [(row.name, row.serial) for row in store.machines()] == [("W-1", "SN-1"), ("W-2", None)]
    counts = take(store, csv, "name,serial\nW-3,sn-1\n")
    assert "is known as that of W-1" in str(counts.contradictions[0])
    assert [row.serial for row in store.machines()] == ["SN-1", None, None]


def test_a_list_of_names_wipes_nothing_that_was_known(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "W-1,SN-1,north,triage,1,kim\nW-2,SN-2,north,,,\n")
    counts = take(store, csv, "name,site\nw-1,\nW-2,south\n")
    assert (counts.updated, counts.unchanged) == (1, 1)
    assert [(row.name, row.serial, row.site, row.service, row.owner) for row in store.machines()] == [
        ("W-1", "SN-1", "north", "triage", "kim"),
        ("W-2", "SN-2", "south", None, None),
    ]


def test_a_list_of_serial_numbers_means_the_machines_that_have_them(store: Store, csv: Path) -> None:
    take(store, csv, "name,serial\nW-1,SN-1\n")
    assert take(store, csv, "serial,site\nsn-1,north\nSN-2,south\n").added == 1
    counts = take(store, csv, "name,serial\nW-2,SN-2\n")
    assert (counts.added, counts.updated, counts.contradicting) == (0, 1, 0)
    assert [(row.name, row.serial, row.site) for row in store.machines()] == [
        ("W-1", "SN-1", "north"),
        ("W-2", "SN-2", "south"),
    ]


def test_names_and_serial_numbers_meet_within_one_list_in_any_order(store: Store, csv: Path) -> None:
    for text in (",SN-1,north\nW-1,SN-1,\n", "W-1,SN-1,\n,SN-1,north\n", ",SN-1,north\nW-1,,\nW-1,SN-1,\n"):
        take(store, csv, "name,serial,site\n" + text)
        assert [(row.name, row.serial, row.site) for row in store.machines()] == [("W-1", "SN-1", "north")]


@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("named_first", [True, False])
def test_of_two_lines_for_one_place_the_named_one_is_kept_and_the_other_said(
    store: Store, csv: Path, named_first: bool, replace: bool
) -> None:
    take(store, csv, "name,serial,site\nPC1,S1,north\n")
    lines = ["PC1,S2,", ",S1,south"] if named_first else [",S1,south", "PC1,S2,"]
    counts = take(store, csv, "name,serial,site\n" + "\n".join(lines), replace=replace)
    assert (counts.added, counts.updated, counts.contradicting, counts.removed) == (0, 1, 1, 0)
    named, nameless = (2, 3) if named_first else (3, 2)
    assert [str(one) for one in counts.contradictions] == [
        f"line {nameless}: its serial number is known as that of PC1, which has another one in line {named}; "
        "that one counts"
    ]
    site = None if replace else "north"
    assert [(row.name, row.serial, row.site) for row in store.machines()] == [("PC1", "S2", site)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_two_lines_for_one_place_complete_each_other(store: Store, csv: Path, order: tuple[int, int]) -> None:
    take(store, csv, HEADER + "PC1,S1,,,,\n")
    lines = ("pc1,,north,lab,,", ",s1,,Lab,2,kim")
    counts = take(store, csv, HEADER + "\n".join(lines[one] for one in order))
    assert (counts.updated, counts.contradicting) == (1, 0)
    (row,) = store.machines()
    assert (row.serial, row.site, row.service, row.priority, row.owner) == ("S1", "north", "lab", "2", "kim")
    counts = take(store, csv, HEADER + "pc1,,east,,,\n,s1,west,,,\n")
    assert [str(one) for one in counts.contradictions] == [
        "line 3: the machine of line 2 with another site; what was known counts, else line 2"
    ]
    assert [row.site for row in store.machines()] == ["north"]


def test_a_line_is_of_the_machine_of_a_run_that_claims_it_by_whichever_name(store: Store, csv: Path) -> None:
    for number in (1, 2):
        names = tuple(f"W-{number}-{index:02}" for index in range(16))
        store.add(Told(number, Machine(uuid(1), "SN-1", disk(1), names)).story("repaired"))
    take(store, csv, "name\nW-2-09\n")
    (row,) = store.machines()
    assert (row.status, store.find("W-2-09")) == ("repaired", (row,))
    assert faults_of(store) == ()


def test_a_list_that_replaces_keeps_who_reported_or_was_marked(store: Store, csv: Path) -> None:
    take(store, csv, HEADER + "".join(f"W-{number},SN-{number},north,,,\n" for number in range(1, 7)))
    store.add(Told(1, Machine(uuid(1), None, disk(1), ("W-2",))).story("repaired"))
    store.add(Told(2, Machine(uuid(2), "SN-3", disk(2), ("DESK",))).story("needs-key"))
    store.mark("W-4", "retired", reason="sold", who="kim")
    csv.write_text("name\nW-1\n")
    foreseen = store.foresee_replacement(parse_inventory("name\nW-1\n", "x.csv"))
    assert (len(foreseen.leaving), foreseen.names, foreseen.of, foreseen.kept) == (2, ("W-5", "W-6"), 6, 3)
    assert foreseen.emptied == {"serial": 1, "site": 1}
    counts = store.import_inventory(csv, replace=True)
    assert (counts.removed, counts.kept, counts.emptied) == (2, 3, {"serial": 1, "site": 1})
    assert [(row.name, row.site) for row in store.machines()] == [
        ("DESK", "north"),
        ("W-1", None),
        ("W-2", "north"),
        ("W-4", "north"),
    ]


def test_who_reports_between_the_question_and_the_answer_is_kept(store: Store, csv: Path) -> None:
    take(store, csv, "name,site\nW-1,north\nW-2,north\n")
    inventory_of_one = parse_inventory("name,site\nW-1,north\n", "x.csv")
    foreseen = store.foresee_replacement(inventory_of_one)
    store.add(Told(1, Machine(uuid(1), None, disk(1), ("W-2",))).story("repaired"))
    assert store.take_inventory(inventory_of_one, foreseen).removed == 0
    assert [row.site for row in store.machines()] == ["north", "north"]


def test_a_line_without_a_name_is_known_by_its_serial_number(store: Store, csv: Path) -> None:
    take(store, csv, "serial,site\nSN-1,north\nTo be filled by O.E.M.,north\n")
    assert [row.name for row in store.machines()] == ["SN-1"]
    store.add(Told(1, Machine(None, "SN-1", disk(1), ("W-1",))).story("repaired"))
    assert [(row.name, row.status) for row in store.machines()] == [("W-1", "repaired")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n \n", "is empty"),
        (b"one,two\n1,2\n", "no column called name"),
        (b"name,NAME\nW-1,W-2\n", "twice"),
        (b"PK\x03\x04name,serial", "is an Excel workbook or a ZIP archive, not a CSV"),
        (b"name\0,serial\n", "not a text file"),
    ],
)
def test_a_file_that_is_no_inventory_changes_nothing(
    store: Store, csv: Path, content: bytes, said: str
) -> None:
    csv.write_bytes(content)
    with pytest.raises(UsageError, match=said):
        store.import_inventory(csv)
    assert store.summary().total == 0


def test_what_is_missing_or_no_file_is_said(store: Store, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.csv", tmp_path):
        with pytest.raises(UsageError):
            store.import_inventory(path)


def test_a_file_that_is_too_large_is_not_read(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "SORT", inventory.SORT._replace(most_bytes=1 << 20))
    csv.write_text(HEADER + "W-1,,,,,\n" * 200_000)
    with pytest.raises(UsageError, match="larger than 1 MiB"):
        store.import_inventory(csv)
    monkeypatch.setattr(inventory, "MOST_LINES", 10)
    full = "Our fleet\n\n" + HEADER + "".join(f"W-{number},,,,,\n" for number in range(10)) + "\n"
    assert len(parse_inventory(full, "x.csv").lines) == 10
    with pytest.raises(UsageError, match="more than 10 lines"):
        parse_inventory(full + "W-11,,,,,\n", "x.csv")


def test_problems_are_counted_beyond_those_that_are_listed() -> None:
    read = parse_inventory("name,site\n" + ",x\n" * 500, "x.csv")
    assert (read.bad.count, len(read.bad.first)) == (500, 100)


def test_thousands_of_lines_are_one_import(store: Store, csv: Path) -> None:
    for number in (5, 1700):
        told = Told(number, Machine(None, None, disk(number), (f"W-{number}",)), minute=1)
        store.add(told.story("repaired"))
    take(store, csv, HEADER + "".join(f"w-{number},,site-{number % 7},,,\n" for number in range(2000)))
    summary = store.summary(START)
    assert (summary.total, summary.expected, summary.by_status["repaired"]) == (2000, 1998, 2)
    assert len(summary.sites) == 7


# --- a long list is counted bit by bit


@pytest.fixture
def short_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staged_inventory, "BATCH", 5)
    monkeypatch.setattr(staged_inventory, "_STAGED_AT_ONCE", 8)


LONG = HEADER + "".join(f"W-{number:02},SN-{number},north,,,\n" for number in range(23))


def stops_at(monkeypatch: pytest.MonkeyPatch, turn: int) -> None:
    """End the import at one of the moments at which others have their turn."""
    turns = [turn]

    def stop() -> None:
        turns[0] -= 1
        if not turns[0]:
            raise KeyboardInterrupt

    monkeypatch.setattr(staged_inventory, "let_others_write", stop)


@pytest.mark.usefixtures("short_batches")
def test_reports_are_stored_while_a_long_list_is_counted(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, csv, HEADER + ",SN-3,,,,\n")
    numbers = iter(range(23))

    def report() -> None:
        number = next(numbers)
        machine = Machine(uuid(number), f"SN-{number}", disk(number), (f"W-{number:02}",))
        assert store.add(Told(number, machine, site="north").story("repaired")) == 3
        assert faults_of(store) == ()

    monkeypatch.setattr(staged_inventory, "let_others_write", report)
    counts = take(store, csv, LONG)
    assert (counts.added, counts.updated) == (22, 1)
    reported = next(numbers)
    assert reported >= 7
    assert store.summary().by_status == {"repaired": reported, "expected": 23 - reported}


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("turn", [1, 2, 3])
def test_of_a_long_list_that_was_not_written_down_whole_nothing_is_taken(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch, turn: int
) -> None:
    stops_at(monkeypatch, turn)
    with pytest.raises(KeyboardInterrupt):
        take(store, csv, LONG)
    assert (store.summary().total, store.lines_waiting()) == (0, 0)
    stops_at(monkeypatch, 0)
    assert take(store, csv, HEADER + "A,,,,,\n").added == 1
    assert store.summary().total == 1


@pytest.mark.usefixtures("short_batches")
@pytest.mark.parametrize("finishes", ["serve", "import"])
def test_a_long_list_whose_counting_was_stopped_is_counted_whole_afterwards(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch, finishes: str
) -> None:
    take(store, csv, HEADER + "OLD-1,,,,,\nOLD-2,,,,,\n,SN-3,,,,\n")
    stops_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        take(store, csv, LONG, replace=True)
    assert store.lines_waiting() == 23 + 3 - 5
    assert faults_of(store) == ()
    stops_at(monkeypatch, 0)
    if finishes == "serve":
        told: list[str] = []
        folder = TallyFolder(csv.parent)
        open_to_serve(folder, AuditLog(folder.audit), Opening(tell=told.append)).close()
        assert told == ["an import of the inventory was stopped; its last 21 lines are counted first"]
    else:
        take(store, csv, HEADER + "W-00,,,,,\n")
    assert store.lines_waiting() == 0
    assert sorted(row.name for row in store.machines()) == [f"W-{number:02}" for number in range(23)]


@pytest.mark.usefixtures("short_batches")
def test_of_two_lists_at_once_the_one_that_was_not_whole_says_so(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def come_between() -> None:
        monkeypatch.setattr(staged_inventory, "let_others_write", lambda: None)
        store.take_inventory(parse_inventory("name\nOTHER\n", "other.csv"))

    monkeypatch.setattr(staged_inventory, "let_others_write", come_between)
    with pytest.raises(UsageError, match="another list was imported meanwhile, and nothing of this one"):
        take(store, csv, LONG)
    assert [row.name for row in store.machines()] == ["OTHER"]


@pytest.mark.usefixtures("short_batches")
def test_what_was_heard_of_while_a_list_replaces_another_stays(
    store: Store, csv: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take(store, csv, HEADER + "OLD-1,,north,,,\nOLD-2,,north,,,\n")

    def report() -> None:
        store.add(Told(1, Machine(None, None, disk(1), ("OLD-1",)), site="north").story("repaired"))

    monkeypatch.setattr(staged_inventory, "let_others_write", report)
    counts = take(store, csv, LONG, replace=True)
    assert (counts.removed, counts.kept) == (1, 1)
    assert [row.name for row in store.machines()][:1] == ["OLD-1"]
    assert store.summary().total == 24
