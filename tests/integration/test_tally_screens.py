"""The tally's screens from outside: a real folder, a real store, a real terminal."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
from support.program import at_terminal, run_program

_INVENTORY = (
    "name,serial,site,service,priority,owner\r\n"
    "WARD-1,PF000001,st-marys,emergency,1,A. Brown\r\n"
    "WARD-2,PF000002,st-marys,emergency,2,A. Brown\r\n"
    "[red]X,PF000003,elm-road,pharmacy,1,B. Okafor\r\n"
)


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    folder = tmp_path / "tally"
    inventory = tmp_path / "inventory.csv"
    inventory.write_text(_INVENTORY)
    assert run_program("tally", "init", folder).code == 0
    assert run_program("tally", "inventory", "import", folder, inventory).code == 0
    return folder


def test_the_live_view_follows_what_others_write_and_ends_on_q(tally: Path) -> None:
    with at_terminal("tally", "watch", tally) as person:
        person.wait_for("0 of 3 machines are done, 3 not yet seen")
        assert not person.is_line_by_line()
        marked = run_program("tally", "mark", tally, "WARD-1", "re-imaged", "--reason", "new image")
        assert marked.code == 0, marked.said
        person.wait_for("1 of 3 machines are done, 2 not yet seen")
        person.press(b"q")
        assert person.end() == 0
        assert person.shown.endswith("\x1b[?25h\x1b[?1049l"), "cursor and former screen are back"
        assert person.is_line_by_line()


def test_the_live_view_takes_the_terminal_as_it_is_resized(tally: Path) -> None:
    with at_terminal("tally", "watch", tally) as person:
        person.wait_for("q ends this view")
        person.resize(24, 80)
        person.wait_for("not yet seen")
        person.wait_for("q ends this view")
        last = person.shown.rpartition("\x1b[H")[2]
        assert max(len(line) for line in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", last).splitlines()) <= 80
        person.press(b"\x03")
        assert person.end() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_the_terminal_as_it_was(tally: Path, number: signal.Signals) -> None:
    with at_terminal("tally", "watch", tally) as person:
        person.wait_for("q ends this view")
        person.send(number)
        assert person.end() == 0
        assert "\x1b[?1049l" in person.shown
        assert person.is_line_by_line()


def test_without_a_terminal_the_live_view_says_what_to_do(tally: Path) -> None:
    ended = run_program("tally", "watch", tally)
    assert ended.code == 2
    assert "needs a terminal" in ended.err
    assert "unbrick tally status --json" in ended.err


def test_a_machine_is_found_by_its_name_and_an_unknown_one_is_said(tally: Path) -> None:
    found = run_program("tally", "status", tally, "--find", "ward-1")
    assert found.out == "-  WARD-1 at st-marys: expected\n"
    for unknown, hint in (
        ("WARD-9", "do you mean WARD-1, WARD-2?"),
        ("K7M3-9XPC", "read it again"),
        ("2222-2222", "not"),
    ):
        ended = run_program("tally", "status", tally, "--find", unknown)
        assert (ended.code, ended.out) == (1, "")
        assert f"no machine has the name, the serial number or the sticker code {unknown}" in ended.err
        assert hint in ended.err


def test_the_table_and_the_document_agree(tally: Path) -> None:
    run_program("tally", "mark", tally, "WARD-1", "re-imaged", "--reason", "new image")
    table = run_program("tally", "status", tally)
    assert table.code == 0
    assert "3 machines, 1 re-imaged, 2 not yet seen" in table.out
    assert re.search(r"st-marys +2 +1", table.out)
    document = run_program("tally", "status", tally, "--json").document
    assert document["total"] == 3
    assert document["by_status"] == {"expected": 2, "re-imaged": 1}
    assert {"name": "[red]X", "site": "elm-road", "status": "expected", "reason": None} in document[
        "machines"
    ]
