"""The drill from outside: a fleet recovered, a tally that counts it, and nothing left when it is stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from pathlib import Path

import pytest
from support.own_playbooks import write_invented
from support.program import at_terminal, run_program, start_program

_SMALL = ("--size", "160M", "--files", "10")
_COUNTED = "Counted by the tally: 8 machines, 5 repaired, 1 needs its key, 1 needs a person, 1 healthy"


def _running(folder: Path) -> list[str]:
    """Programs that have to do with a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = process.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if str(folder) in words and str(os.getpid()) != process.parent.name:
                found.append(words)
    return found


def _wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while _running(folder):
        assert time.monotonic() < deadline, _running(folder)
        time.sleep(0.1)


def test_a_drill_on_a_pipe_of_a_site_s_own_incident_is_counted_by_its_tally(tmp_path: Path) -> None:
    folder, playbook = tmp_path / "fleet", write_invented(tmp_path / "ours.yaml", "zzz-print-filter")
    drill = run_program("drill", "run", folder, *_SMALL, "--playbook", playbook)
    assert drill.code == 0, drill.said
    assert drill.out.splitlines()[-1] == _COUNTED
    assert drill.err.count("unbrick repair ") == 8
    assert drill.err.count(f"--station tally/unbrick.yaml --playbook {playbook} --yes") == 8
    assert drill.err.count("moved to quarantine: \\ProgramData\\Example\\Filter\\rules-") >= 5
    assert _running(folder) == []
    document = run_program("tally", "status", folder / "tally", "--json").document
    assert document["total"] == 8
    assert document["by_status"] == {"repaired": 5, "needs-key": 1, "needs-hands": 1, "healthy": 1}
    reasons = {row["status"]: row["reason"] for row in document["machines"]}
    assert reasons["needs-key"] == "key-missing"
    assert reasons["needs-hands"] == "hibernated"
    assert list((folder / "tally" / "outbox").glob("*.json")) == [], "everything was sent"
    audit = (folder / "tally" / "audit.log").read_text()
    assert "refused" not in audit
    assert not (folder / "tally" / "refusals.log").exists()


def test_a_drill_at_a_terminal_shows_the_dashboard_and_leaves_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    with at_terminal("drill", "run", folder, *_SMALL) as person:
        person.wait_for("\x1b[?1049h")
        person.wait_for("of 8 machines are done")
        person.wait_for("the drill (Ctrl-C stops it)")
        person.wait_for("unbrick repair")
        person.wait_for("6 of 8 machines are done")
        person.wait_for("\x1b[?1049l")
        person.wait_for("The fleet")
        assert person.end() == 0
    left = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", person.shown.rpartition("\x1b[?1049l")[2])
    assert left.count("unbrick repair ") == 8
    assert left.rstrip().endswith(_COUNTED)


def test_ctrl_c_ends_a_drill_at_a_terminal_and_puts_the_terminal_back(tmp_path: Path) -> None:
    folder = tmp_path / "fleet"
    with at_terminal("drill", "run", folder, *_SMALL) as person:
        person.wait_for("unbrick repair")
        person.press(b"\x03")
        assert person.end() == 130
    assert "stopped; nothing is lost" in person.shown.rpartition("\x1b[?1049l")[2]
    _wait_until_gone(folder)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_drill_that_is_stopped_leaves_nothing_running(tmp_path: Path, number: signal.Signals) -> None:
    folder = tmp_path / "fleet"
    process = start_program("drill", "run", folder, *_SMALL)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("unbrick repair"):
            break
    assert any("tally serve" in words for words in _running(folder))
    process.send_signal(number)
    _, said = process.communicate(timeout=90)
    assert process.returncode != 0
    assert "Traceback" not in said
    _wait_until_gone(folder)
    mounts = Path("/proc/mounts").read_text()
    assert str(folder) not in mounts
