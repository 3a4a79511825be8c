"""The dashboard and the status table, drawn for terminals of several sizes and read back as text."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from support.tally_board import board, nine, recent, row, shown, summary, two_hundred_thousand

from unbrick.events.short_code import short_code
from unbrick.model import Machine
from unbrick.tally.records import Basis, Estimate, Summary
from unbrick.tally.show import panes
from unbrick.tally.show.board import Board
from unbrick.tally.show.screen import Dashboard, render_status, totals_sentence

SIZES = [(80, 24), (120, 40), (200, 60), (81, 25)]
EMPTY = board(summary({}))
HOSTILE = [
    "\x1b[2J\x1b[31mX",
    "[red]ALARM[/red]",
    "[/]",
    "[link=https://example.invalid]x[/link]",
    ":smile:",
    "A\nB\rC\tD",
    "\u202eEVIL\u2066",
    "שלום־עולם",
    "مرحبا-١٢٣",
    "😀" * 40,
    "👩‍👩‍👧‍👦-PC",
    "❤️‍🔥",
    "e" + "\u0301" * 500,
    "漢字" * 40,
    "W" * 5000,
    "\x00\x07\x9b31m",
    "\u2028\u2029\ufeff\u200b",
    "",
]


def screen(what: Board, width: int, height: int) -> list[str]:
    return shown(Dashboard(what), width, height)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", [EMPTY, nine(), two_hundred_thousand()], ids=["0", "9", "200000"])
def test_the_dashboard_fills_the_screen_exactly(what: Board, size: tuple[int, int]) -> None:
    lines = screen(what, *size)
    assert len(lines) == size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    assert "q ends this view" in lines[-1]
    assert "14:03:22" in lines[0]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_a_small_fleet_is_told_in_full(size: tuple[int, int]) -> None:
    text = "\n".join(screen(nine(), *size))
    assert "6 of 9 machines are done, 1 not yet seen" in text
    assert "66 %" in text
    assert re.search(r"repaired +4 ", text)
    assert re.search(r"re-imaged +1 +1 ", text)
    assert re.search(r"needs-key +1 +key-missing 1", text)
    assert re.search(r"not yet seen +1", text)
    assert re.search(r"st-marys +4/5", text)
    assert re.search(r"elm-road +2/4", text)
    assert re.search(r"PHARMACY-004 +st-marys +0B8E2F9C", text)
    assert re.search(r"LAB-008 +elm-road +hibernated", text)
    assert re.search(r"14:03:22  WARD-000 +st-marys +repaired", text)
    assert "48 an hour, too early to say when it ends; 2 stuck" in text


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
def test_two_hundred_thousand_machines_are_told_in_numbers(size: tuple[int, int]) -> None:
    what = two_hundred_thousand()
    text = "\n".join(screen(what, *size))
    assert "100,000 of 200,000 machines are done, 80,700 not yet seen" in text
    assert "135 a minute, ends tomorrow between 01:30 and 03:15 (good); 19,195 stuck" in text
    for status in ("confirmed", "repaired", "healthy", "needs-key", "needs-hands", "failed"):
        assert status in text
    assert "needs its key (12,345)" in text
    assert "needs a person (6,850)" in text
    assert re.search(r"and 12,3\d\d more", text)
    assert re.search(r"and 39\d more, [0-9,]+ to go", text) or "and 38" in text
    assert re.search(r"on the way +105 ", text) or re.search(r"unlocked +30 ", text)
    assert "last events" in text


def test_nothing_is_told_before_the_first_report() -> None:
    text = "\n".join(screen(EMPTY, 80, 24))
    assert "0 of 0 machines are done" in text
    assert "no machines yet" in text
    assert "waiting for the first report" in text


def test_what_was_marked_by_hand_stands_apart_from_what_machines_proved() -> None:
    numbers = summary({"confirmed": 7, "repaired": 2}, marked={"confirmed": 3})
    text = "\n".join(screen(board(numbers), 80, 24))
    assert re.search(r"status +machines +by hand", text)
    assert re.search(r"confirmed +7 +3 ", text)
    assert re.search(r"repaired +2 {10,}", text)


def test_a_machine_that_a_person_gave_up_says_so() -> None:
    marked = replace(row("CT-1", "firmware-locked", "no password"), basis=Basis.MARKED)
    text = "\n".join(screen(board(summary({"firmware-locked": 1}), marked), 120, 24))
    assert re.search(r"CT-1 +st-marys +no password \(by hand\)", text)


@pytest.mark.parametrize(
    ("done", "total", "green"), [(0, 9, 0), (1, 200_000, 1), (199_999, 200_000, 79), (9, 9, 80)]
)
def test_the_bar_is_full_only_when_all_is_done_and_empty_only_when_nothing_is(
    done: int, total: int, green: int
) -> None:
    what = board(summary({"repaired": done, "expected": total - done}))
    assert screen(what, 80, 24)[2].count("━") == green


def test_when_only_stuck_machines_are_left_no_time_is_promised() -> None:
    estimate = Estimate(25.0, 16.0, 58.0, 6, 10.0)
    line = screen(board(summary({"repaired": 10, "needs-key": 2}, estimate=estimate)), 80, 24)[3]
    assert line.strip() == "no visit left to make; 2 stuck"
    assert screen(board(summary({"repaired": 10})), 80, 24)[3].strip() == "all are done"


def test_trouble_is_said_on_the_screen_and_in_the_table() -> None:
    what = replace(nine(), trouble="the disk below the database is full")
    assert screen(what, 80, 24)[1].startswith("! the disk below the database is full")
    assert "! the disk below the database is full" in shown(render_status(what), 80, 24)[0]


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_changes_nothing_but_its_own_cells(name: str, size: tuple[int, int]) -> None:
    numbers = summary(
        {"needs-key": 1, "needs-hands": 1, "failed": 1},
        reasons={"needs-key": {name or "x": 1}},
        sites={name: {"needs-key": 1, "needs-hands": 1, "failed": 1}},
    )
    rows = [row(name, status, name or None, name) for status in ("needs-key", "needs-hands", "failed")]
    what = board(numbers, *rows, events=(recent(name, site=name),))
    lines = screen(what, *size)
    assert len(lines) == size[1]
    assert {cell_len(line) for line in lines} == {size[0]}
    table = shown(render_status(what), *size)
    for line in (*lines, *table):
        assert not [c for c in line if unicodedata.category(c) in {"Cc", "Zl", "Zp"}]
        assert not set(line) & set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200b\u200d\ufeff")
    if name.startswith("[red]"):
        assert any("[red]ALARM[/r" in line for line in lines)
        assert any("[red]ALARM[/red]" in line for line in table)


@given(st.text(max_size=60), st.text(max_size=60), st.integers(30, 140), st.integers(5, 45))
def test_no_text_and_no_size_breaks_the_screen(name: str, site: str, width: int, height: int) -> None:
    what = board(
        summary({"needs-key": 1, "repaired": 1}, sites={site: {"needs-key": 1, "repaired": 1}}),
        row(name, "needs-key", "key-missing", site),
        events=(recent(name, site=site),),
    )
    lines = screen(what, width, height)
    assert len(lines) == height
    assert all(cell_len(line) <= width for line in lines)


def test_a_status_of_a_newer_version_is_still_counted() -> None:
    what = board(Summary(total=3, by_status={"teleported": 3}, sites={"": {"teleported": 3}}))
    assert re.search(r"teleported +3", "\n".join(screen(what, 80, 24)))
    assert re.search(r"no site +0/3", "\n".join(screen(what, 80, 24)))


def test_the_table_has_every_status_site_and_machine_that_waits() -> None:
    text = "\n".join(shown(render_status(nine()), 100, 24))
    assert re.search(r"repaired +4", text)
    assert re.search(r"re-imaged +1 +1", text)
    assert re.search(r"needs-hands +1 +hibernated 1", text)
    assert re.search(r"elm-road +4 +2 +1", text)
    assert re.search(r"PHARMACY-004 +st-marys +0B8E2F9C-1111-2222-3333-444455556666 key-missing", text)
    assert re.search(r"LAB-008 +elm-road +hibernated", text)


def test_long_lists_of_the_table_say_what_they_leave_out() -> None:
    text = "\n".join(shown(render_status(two_hundred_thousand()), 100, 24))
    assert "and 12,295 more" in text
    assert "and 350 more" in text


def test_the_totals_read_as_a_sentence() -> None:
    drill = board(summary({"repaired": 5, "healthy": 1, "needs-key": 1, "needs-hands": 1}))
    assert totals_sentence(drill) == ("8 machines, 5 repaired, 1 needs its key, 1 needs a person, 1 healthy")
    assert totals_sentence(board(summary({"expected": 1}))) == "1 machine, 1 not yet seen"
    assert totals_sentence(EMPTY) == "0 machines"


def test_who_waits_is_shown_with_the_code_on_the_sticker_where_there_is_room() -> None:
    machine = Machine("4C4C4544-0042-3510-8052-B4C04F564432", None, None, ("PC-17",))
    one = replace(row("PC-17", "needs-key", "key-missing"), key=f"smbios:{machine.smbios_uuid}")
    what = board(summary({"needs-key": 1}, reasons={"needs-key": {"key-missing": 1}}), one)
    code = short_code(machine, None)
    assert code in "\n".join(screen(what, 150, 40))
    assert code not in "\n".join(screen(what, 80, 24))
    clone = replace(one, key="disk:0F0E0D0C-0B0A-4908-8706-050403020100:PC-17")
    assert clone.code == short_code(Machine(disk_guid="0F0E0D0C-0B0A-4908-8706-050403020100"), None)
    assert replace(one, key="serial:5CG1X").code == short_code(Machine(serial="5cg1x"), None)
    assert replace(one, key="named:PC-18").code is None


def test_machines_that_are_in_no_list_are_named_with_their_stations() -> None:
    summary = Summary(total=7, not_listed={"hog": 5, "good": 1, "": 1})
    said = "7 machines counted that the inventory does not have (hog 5, by hand 1, good 1)"
    assert panes.apart_sentence(summary) == said
