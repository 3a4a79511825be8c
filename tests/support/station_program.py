"""A program with one thread, as the real one has: the sender forks, which no test runner should."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.ssh_credentials import Credentials

_PRELUDE = """
import json, os, signal, sys, threading, time
from pathlib import Path
from support.signed_events import unsigned_event
from unbrick.settings.station_file import Tally
from unbrick.report.outbox import Outbox
from unbrick.report.sender import BackgroundSender
from unbrick.report.sender_status import SenderState

folder, port, host_ca, waiting = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
station = Tally("127.0.0.1", port, host_ca, folder / "station", folder / "station-cert.pub")
outbox = Outbox(waiting)

def put(first, last):
    for number in range(first, last + 1):
        outbox.put(unsigned_event(number))

def wait_for(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, sender.status()
        time.sleep(0.005)

def say(*words):
    print(*words, flush=True)

"""


def _command(credentials: Credentials, port: int, outbox: Path, script: str) -> list[str]:
    program = _PRELUDE + script
    arguments = [str(credentials.folder), str(port), credentials.host_ca, str(outbox)]
    return [sys.executable, "-W", "error", "-c", program, *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def run_station(credentials: Credentials, port: int, outbox: Path, script: str) -> list[str]:
    """Run a script to its end; the lines that it said. Nothing may be on stderr."""
    done = subprocess.run(
        _command(credentials, port, outbox, script),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


@contextmanager
def running_station(
    credentials: Credentials, port: int, outbox: Path, script: str
) -> Iterator[subprocess.Popen[str]]:
    """Run a script in a process group of its own, beside the test; it is killed in the end."""
    process = subprocess.Popen(
        _command(credentials, port, outbox, script),
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()
