"""How a program is run: alone, with what it is given and no more, and for no longer than it may."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from unbrick.errors import MissingToolError
from unbrick.processes.command import CommandTimeoutError, SystemRunner
from unbrick.secret import Secret

# Says where it is, and cannot be asked to end.
STUBBORN = 'trap "" TERM; echo $$ >"$1"; while :; do sleep 0.05; done'


def process_of(note: Path) -> int:
    while not (note.exists() and note.read_text().strip()):
        time.sleep(0.01)
    return int(note.read_text())


def test_a_program_whose_time_is_over_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "process"
    with pytest.raises(CommandTimeoutError, match=r"within 1 s"):
        SystemRunner().run(["sh", "-c", STUBBORN, "sh", str(note)], timeout=1.0)
    with pytest.raises(ProcessLookupError):
        os.kill(process_of(note), 0)


def test_ctrl_c_ends_the_program_that_we_wait_for(tmp_path: Path) -> None:
    note = tmp_path / "process"

    def interrupt() -> None:
        process_of(note)
        os.kill(os.getpid(), signal.SIGINT)

    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            SystemRunner().run(["sh", "-c", STUBBORN, "sh", str(note)], timeout=60.0)
    finally:
        thread.join()
        signal.signal(signal.SIGINT, former)
    with pytest.raises(ProcessLookupError):
        os.kill(process_of(note), 0)


def test_a_secret_goes_in_on_standard_input_and_nothing_of_ours_is_around_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OURS", "1")
    show = 'cat; echo; tr "\\0" " " </proc/$$/cmdline; echo; echo "<$OURS>"; pwd'
    said = SystemRunner().run(["sh", "-c", show], timeout=60.0, stdin=Secret("the password")).stdout
    assert said.splitlines() == [b"the password", f"sh -c {show} ".encode(), b"<>", b"/"]


def test_only_at_the_terminal_it_shares_our_session() -> None:
    argv = ["sh", "-c", "cut -d ' ' -f 6 /proc/$$/stat"]
    runner = SystemRunner()
    assert int(runner.run(argv, timeout=60.0, at_terminal=True).stdout) == os.getsid(0)
    assert int(runner.run(argv, timeout=60.0).stdout) != os.getsid(0)


def test_a_program_that_is_not_there_is_named() -> None:
    runner = SystemRunner()
    with pytest.raises(MissingToolError, match="nonesuch"):
        runner.run(["nonesuch"], timeout=1.0)
    with pytest.raises(MissingToolError, match="nonesuch"):
        runner.start(["nonesuch"])


def test_what_a_server_says_on_its_standard_output_goes_to_the_file_that_it_was_given(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+b") as said:
        server = SystemRunner().start(["echo", "hello"], stdout=said)
        assert server.wait(60.0) == 0
        assert (tmp_path / "said").read_bytes() == b"hello\n"
