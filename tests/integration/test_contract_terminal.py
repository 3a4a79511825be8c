"""Manners at a terminal: colours as asked for, lines that fit, steps that are gone when the answer stands."""

from __future__ import annotations

import re
from pathlib import Path

import pyte
import pytest
from support.drilled import Drills
from support.program import AtTerminal, at_terminal, run_program, start_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_ESCAPE = "\x1b"


def _seen(terminal: AtTerminal, columns: int = 120) -> list[str]:
    """What stands on the screen in the end."""
    screen = pyte.Screen(columns, 50)
    pyte.Stream(screen).feed(terminal.shown.replace("\n", "\r\n"))
    return [line.rstrip() for line in screen.display if line.strip()]


@pytest.mark.parametrize("columns", [60, 120])
def test_the_steps_are_gone_when_the_answer_stands(drills: Drills, tmp_path: Path, columns: int) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks", name="disk.img")
    (password,) = disk.passwords().values()
    with at_terminal("repair", "disk.img", columns=columns, cwd=disk.image.parent) as terminal:
        terminal.wait_for("Recovery password: ")
        assert not any("…" in line for line in _seen(terminal, columns)), "a step stands above the question"
        terminal.type(password)
        terminal.wait_for("Go ahead?")
        assert not any("…" in line for line in _seen(terminal, columns)), "a step stands above the question"
        terminal.type("y")
        terminal.wait_for("REPAIRED")
        assert terminal.end() == 0
    assert "unlocking BitLocker" in terminal.shown
    assert "taking the fault away" in terminal.shown
    seen = _seen(terminal, columns)
    assert not any("…" in line for line in seen), seen
    told = "\n".join(seen)
    assert told.count("disk.img: REPAIRED") == 1
    if columns == 60:
        words = [word for line in seen for word in line.split()]
        assert "CrowdStrike" in words, "a word was cut at the edge"


@pytest.mark.parametrize(
    ("options", "environment", "colourful"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        ((), {"NO_COLOR": ""}, True),
        (("--color", "never"), {}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "auto"), {"NO_COLOR": "1"}, False),
        ((), {"TERM": "dumb"}, False),
    ],
)
def test_colours_are_as_asked_for(
    drills: Drills, tmp_path: Path, options: tuple[str, ...], environment: dict[str, str], colourful: bool
) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    with at_terminal("diagnose", disk.image, *options, environment=environment) as terminal:
        assert terminal.end() == 0
    assert bool(_COLOUR.search(terminal.shown)) is colourful
    with at_terminal(*options, "diagnose", disk.image, environment=environment) as before_the_verb:
        assert before_the_verb.end() == 0
    assert bool(_COLOUR.search(before_the_verb.shown)) is colourful


def test_a_dumb_terminal_gets_no_escape_at_all(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    with at_terminal("diagnose", disk.image, environment={"TERM": "dumb"}) as terminal:
        terminal.wait_for("unlocking BitLocker")
        terminal.wait_for("Recovery password: ")
        terminal.type("")
        assert terminal.end() == 4
    with at_terminal("help", "technician", environment={"TERM": "dumb", "PAGER": "cat"}) as page:
        assert page.end() == 0
    with at_terminal("tally", "watch", tmp_path, environment={"TERM": "dumb"}) as watch:
        assert watch.end() == 2
    assert _ESCAPE not in terminal.shown + page.shown + watch.shown


def test_colours_on_a_pipe_only_where_they_are_wanted(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    assert _ESCAPE not in run_program("diagnose", disk.image, "--color", "auto").said
    process = start_program("diagnose", disk.image, "--color", "always")
    out, err = process.communicate(timeout=60)
    assert _COLOUR.search(out)
    assert err == ""


def test_verbose_says_each_step_and_json_stays_json(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    ended = run_program("repair", disk.image, "--yes", "--json", "--verbose")
    assert ended.document["status"] == "repaired"
    for words in ("looking at the disk", "taking the fault away", "checking the repair"):
        assert re.search(rf"{words}.*  \d+\.\d s\n", ended.err)


def test_the_log_has_every_step_and_no_secret(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (password,) = disk.passwords().values()
    log = tmp_path / "unbrick.log"
    ended = run_program("repair", disk.image, "--keys", disk.keys, "--yes", "--log", log)
    text = log.read_text()
    assert "unlock" in text
    assert "REPAIRED" in text
    assert ended.out.splitlines()[-1].strip() in text
    for line in text.splitlines():
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z ", line)
    with at_terminal("diagnose", disk.image, "--log", log) as terminal:
        terminal.wait_for("Recovery password: ")
        terminal.type(password)
        assert terminal.end() == 0
    run_program("diagnose", disk.image, "--keys", password, "--log", log)
    longer = log.read_text()
    assert longer.startswith(text)
    assert len(longer) > len(text)
    assert not any(group in longer for group in [password, password.replace("-", "")])
    assert log.stat().st_mode & 0o077 == 0
    refused = run_program("repair", disk.image, "--yes", "--log", tmp_path / "no" / "log", "--json")
    assert "log" in refused.refusal["error"]
