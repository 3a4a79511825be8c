"""Programs that run for minutes and tidy up after themselves: they are let to, and cannot take us along."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from unbrick.processes.command import CommandError, CommandTimeoutError, SystemRunner

# Like mmdebstrap: makes a folder, waits for a program of its own whatever comes, and takes the folder away.
TIDY = 'trap "rm -r $1; exit 3" TERM; mkdir "$1"; sleep 100 & echo $! >"$1/child"; wait; wait'


def interrupt_once(there: Path) -> None:
    """Ctrl-C, for us alone, when the program is at work."""
    while not (there.exists() and there.read_text()):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)


def test_a_program_that_is_interrupted_takes_its_folder_away_and_leaves_nobody_behind(tmp_path: Path) -> None:
    folder = tmp_path / "work"
    seen: list[int] = []

    def interrupt() -> None:
        interrupt_once(folder / "child")

    def note_child() -> None:
        while not seen:
            try:
                seen.append(int((folder / "child").read_text()))
            except (OSError, ValueError):
                time.sleep(0.01)

    threads = [threading.Thread(target=note_child), threading.Thread(target=interrupt)]
    threads[0].start()
    threads[1].start()
    former = signal.signal(signal.SIGINT, signal.default_int_handler)  # we may have been told to ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            SystemRunner().run(["sh", "-c", TIDY, "sh", str(folder)], timeout=60.0, tidies_up=True)
    finally:
        signal.signal(signal.SIGINT, former)
    for thread in threads:
        thread.join()
    assert not folder.exists()
    assert not Path(f"/proc/{seen[0]}/root").exists()


def test_it_is_let_to_tidy_up_when_its_time_is_over(tmp_path: Path) -> None:
    with pytest.raises(CommandTimeoutError):
        SystemRunner().run(["sh", "-c", TIDY, "sh", str(tmp_path / "work")], timeout=0.5, tidies_up=True)
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_hangs_up_its_process_group_does_not_reach_us() -> None:
    """mmdebstrap does when it cannot write its archive; a script that called us would end without a word."""
    with pytest.raises(CommandError) as caught:
        SystemRunner().run(["sh", "-c", "echo full >&2; kill -HUP 0; sleep 5"], timeout=60.0, tidies_up=True)
    assert caught.value.stderr == b"full\n"


def test_it_has_what_of_our_environment_it_is_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "yes")
    monkeypatch.setenv("OTHER", "yes")
    done = SystemRunner().run(
        ["sh", "-c", 'echo "$KEPT $OTHER $TZ"'], timeout=60.0, tidies_up=True, keep=("KEPT", "ABSENT")
    )
    assert done.stdout == b"yes  UTC\n"
