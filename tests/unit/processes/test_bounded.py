"""The child that reads hostile data: whatever becomes of it, we get an answer or one error, in time."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from unbrick.errors import UsageError
from unbrick.processes import bounded
from unbrick.processes.bounded import ReaderEndedError, run_bounded


def ended(work: Any, seconds: float = 20) -> str:
    with pytest.raises(ReaderEndedError) as caught:
        run_bounded(work, seconds=seconds)
    return caught.value.message


def test_the_result_comes_back() -> None:
    assert run_bounded(lambda: {"a": [1, None, "ä"]}, seconds=20) == {"a": [1, None, "ä"]}


def test_it_is_computed_elsewhere() -> None:
    assert run_bounded(os.getpid, seconds=20) != os.getpid()


def test_a_crash_is_named_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    def crash() -> None:
        os.write(2, b"free(): invalid pointer")
        ctypes.string_at(0)

    assert "SIGSEGV" in ended(crash)
    assert capfd.readouterr() == ("", "")


def test_a_loop_is_ended_and_nothing_is_left(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def loop() -> None:
        note.write_text(str(os.getpid()))
        while True:
            pass

    started = time.monotonic()
    assert "limits" in ended(loop, seconds=0.5)
    assert time.monotonic() - started < 5
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)


def test_hunger_for_memory_is_ended() -> None:
    assert "memory" in ended(lambda: len(bytearray(bounded.MEMORY_LIMIT)))


def test_an_endless_answer_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "ANSWER_LIMIT", 1 << 20)
    assert "limits" in ended(lambda: "x" * (8 << 20))


def test_our_own_error_comes_back_as_its_sentence() -> None:
    def work() -> None:
        raise UsageError("a plain sentence")

    assert ended(work) == "a plain sentence"


def test_any_other_error_is_no_answer(capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        raise KeyError("surprise")

    assert ended(work) == "the reader gave no answer"
    assert capfd.readouterr() == ("", "")


def test_an_answer_that_is_no_json_is_no_answer() -> None:
    assert ended(lambda: b"bytes") == "the reader gave no answer"


def test_our_signal_handlers_do_not_run_in_it() -> None:
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        assert run_bounded(lambda: signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, seconds=20)
    finally:
        signal.signal(signal.SIGTERM, before)
