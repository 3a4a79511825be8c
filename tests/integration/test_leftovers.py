"""The tests' own manners: what they start heeds signals, whatever they were told, and ends with them."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from support.leftovers import ended_afterwards

_STARTED_BY_NOHUP = """
import signal, subprocess, conftest
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_IGN)
conftest.pytest_configure()
for name in ("HUP", "INT"):
    print(subprocess.run(["sh", "-c", f"kill -{name} $$; echo ignored"]).returncode)
"""


def test_what_tests_start_heeds_signals_also_under_nohup() -> None:
    tests = Path(__file__).parents[1]
    argv = [sys.executable, "-c", _STARTED_BY_NOHUP]
    said = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=tests).stdout
    assert said == f"{-signal.SIGHUP}\n{-signal.SIGINT}\n"


def test_what_a_test_started_ends_with_it_also_where_its_parent_is_gone(tmp_path: Path) -> None:
    numbers = tmp_path / "numbers"
    with ended_afterwards():
        script = f'setsid sleep 1000 & echo $! >"{numbers}"; exit 0'
        subprocess.run(["sh", "-c", script], check=True)
        alone = int(numbers.read_text())
        own = subprocess.Popen(["sleep", "1000"])
        assert Path(f"/proc/{alone}/exe").exists()
    assert not Path(f"/proc/{alone}").exists()
    assert own.poll() is not None
