"""A program that runs beside us, read while it writes."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from unbrick.processes.command import SystemRunner

LINES = 20_000
PROGRAM = f"""
import os
for number in range({LINES}):
    os.write(2, b"%06d\\n" % number)
"""


def test_reading_what_a_program_says_loses_nothing_of_it() -> None:
    server = SystemRunner().start([sys.executable, "-c", PROGRAM])
    try:
        while server.poll() is None:
            server.read_error()
    finally:
        server.stop(10)
    assert server.read_error().decode().split() == [f"{number:06}" for number in range(LINES)]


def test_the_last_words_are_read_also_where_it_ends_while_we_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = tmp_path / "go"
    script = 'echo first >&2; while [ ! -e "$1" ]; do sleep 0.01; done; echo last >&2'
    server = SystemRunner().start(["sh", "-c", script, "sh", str(go)])
    real = os.pread

    def read_and_let_it_end(descriptor: int, length: int, offset: int) -> bytes:
        said = real(descriptor, length, offset)
        go.touch()
        while server.poll() is None:
            time.sleep(0.001)
        return said

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", read_and_let_it_end)
        server.read_error()
    assert server.read_error() == b"first\nlast\n"
