"""A person at a terminal: is asked before anything is written, is asked for a key, and sees what goes on."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.drilled import Drills
from support.program import at_terminal, run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.mark.parametrize("verb", ["repair", "undo"])
def test_without_yes_and_without_a_terminal_nothing_is_even_looked_at(
    drills: Drills, tmp_path: Path, verb: str
) -> None:
    disk = drills.copy("crashed", tmp_path / "disks")
    before = disk.digest()
    for options in ((), ("--json",), ("--keys", "missing.csv")):
        ended = run_program(verb, disk.image, *options)
        assert ended.code == 2
        assert "--yes" in ended.err
        assert "--yes" in ended.refusal["hint"] if "--json" in options else ended.out == ""
    assert disk.digest() == before


def test_the_plan_is_shown_and_no_means_no(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    before = disk.digest()
    for answer in ("n", "", "maybe\nn"):
        with at_terminal("repair", disk.image, "--keys", disk.keys) as terminal:
            terminal.wait_for(f"would move: {disk.volume.faulty[0]}")
            terminal.wait_for("Go ahead? [y/N]")
            terminal.type(answer)
            terminal.wait_for("FOUND")
            terminal.wait_for(f"unbrick repair {disk.image} --keys {disk.keys}")
            assert terminal.end() == 3
            assert terminal.shown.count(disk.volume.faulty[0]) == 1, "told twice"
    assert disk.digest() == before


def test_yes_means_yes_for_repair_and_for_undo(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    with at_terminal("repair", disk.image) as terminal:
        terminal.wait_for("Go ahead?")
        terminal.type("y")
        terminal.wait_for("REPAIRED")
        terminal.wait_for("restart this machine into Windows")
        assert terminal.end() == 0
        assert "\x1b[" in terminal.shown
    assert disk.complaints(repaired=True) == ()
    with at_terminal("undo", disk.image) as terminal:
        terminal.wait_for(f"would put back: {disk.volume.faulty[0]}")
        terminal.wait_for("Go ahead?")
        terminal.type("y")
        terminal.wait_for("UNDONE")
        assert terminal.end() == 0
    assert disk.complaints(repaired=False) == ()


@pytest.mark.parametrize("keys", [b"\x03", b"\x04"], ids=["Ctrl-C", "end of input"])
def test_walking_away_from_the_question_writes_nothing(drills: Drills, tmp_path: Path, keys: bytes) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    before = disk.digest()
    with at_terminal("repair", disk.image) as terminal:
        terminal.wait_for("Go ahead?")
        terminal.press(keys)
        terminal.wait_for("stopped")
        assert terminal.end() == 130
    assert disk.digest() == before


def test_a_healthy_disk_asks_nothing(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    with at_terminal("repair", disk.image) as terminal:
        terminal.wait_for("HEALTHY")
        assert terminal.end() == 0
        assert "Go ahead?" not in terminal.shown


def test_a_person_is_asked_for_the_key_and_each_mistake_is_named(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (password,) = disk.passwords().values()
    (wrong,) = drills.copy("xts-256", tmp_path / "other").passwords().values()
    first = password[:5] + str((int(password[5]) + 1) % 10)
    with at_terminal("repair", disk.image, "--yes") as terminal:
        terminal.wait_for(disk.volume.protector[:8] if disk.volume.protector else "")
        terminal.wait_for("Recovery password: ")
        terminal.type(first + password[6:])
        terminal.wait_for("group 1")
        terminal.wait_for("Recovery password: ")
        terminal.type(wrong)
        terminal.wait_for("not the one for this disk")
        terminal.wait_for("Recovery password: ")
        terminal.type(password.replace("-", " "))
        terminal.wait_for("REPAIRED")
        assert terminal.end() == 0
        assert password not in terminal.shown
        assert terminal.shown.count(wrong) == 1, "what was typed is repeated"
    assert disk.complaints(repaired=True) == ()


def test_a_person_without_the_key_gives_up_and_nothing_is_written(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    before = disk.digest()
    with at_terminal("diagnose", disk.image) as terminal:
        terminal.wait_for("Recovery password: ")
        terminal.type("")
        terminal.wait_for("NEEDS-KEY")
        assert terminal.end() == 4
    with at_terminal("repair", disk.image, "--yes") as terminal:
        terminal.wait_for("Recovery password: ")
        terminal.press(b"\x03")
        assert terminal.end() == 130
    with at_terminal("diagnose", disk.image, "--json") as terminal:
        assert terminal.end() == 4
        assert "Recovery password" not in terminal.shown
    assert disk.digest() == before


def test_a_pipe_gets_no_progress_and_every_line_of_json_is_json(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("crashed", tmp_path / "disks")
    ended = run_program("repair", disk.image, tmp_path / "missing.img", "--yes", "--json")
    assert [json.loads(line)["status"] for line in ended.out.splitlines()] == ["repaired", "failed"]
    assert ended.out.count("\n") == 2
    assert all(line.startswith("unbrick: ") for line in ended.err.splitlines())
    assert "✓" not in ended.said
    plain = run_program("diagnose", disk.image)
    assert plain.err == ""
    assert plain.out.startswith(f"{disk.image}: HEALTHY\n")
