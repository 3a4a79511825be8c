"""The sender's process, seen from outside: it sends, it survives what it must, and it dies when it must."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest
from support.fake_tally import RunningTally, running_tally
from support.ssh_credentials import Credentials, make_credentials
from support.station_program import run_station, running_station

from unbrick.report.outbox import Outbox


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return make_credentials(tmp_path / "tally")


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def numbers(tally: RunningTally) -> list[int]:
    return [event["sequence"] for event in tally.received()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def test_what_is_put_during_a_run_arrives_once_in_one_session(credentials: Credentials, outbox: Path) -> None:
    script = """
put(1, 3)
sender = BackgroundSender(station, waiting)
put(4, 300)
say(sender.finish(30), sender.status().state.value, sender.status().acknowledged)
say(threading.active_count(), "paramiko" in sys.modules, "cryptography" in sys.modules)
"""
    with running_tally(credentials.folder) as tally:
        said = run_station(credentials, tally.port, outbox, script)
        assert said == ["0 ended 300", "1 False False"]
        assert numbers(tally) == list(range(1, 301))
        assert tally.has_seen("bye")
        assert tally.seen() == ["connected", "login station-1", "bye"]
    assert Outbox(outbox).count() == 0


def test_a_later_fork_sees_the_status_and_can_nudge(credentials: Credentials, outbox: Path) -> None:
    script = """
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is SenderState.CONNECTED)
child = os.fork()
if child == 0:
    put(1, 1)
    sender.nudge()
    wait_for(lambda: sender.status().acknowledged == 1)
    say("seen in the fork")
    sender.end()  # not the fork's to say
    os._exit(0)
os.waitpid(child, 0)
put(2, 2)
wait_for(lambda: sender.status().acknowledged == 2)
say(sender.finish(10))
"""
    with running_tally(credentials.folder) as tally:
        assert run_station(credentials, tally.port, outbox, script) == ["seen in the fork", "0"]
        assert numbers(tally) == [1, 2]


WAITING_STATION = """
put(1, 1)
sender = BackgroundSender(station, waiting)
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGQUIT, lambda *_: None)
wait_for(lambda: sender.status().acknowledged == 1)
say(sender._child.pid)
sys.stdin.readline()
put(2, 5)
say(sender.finish(20), sender.status().state.value)
"""


def test_ctrl_c_does_not_reach_it(credentials: Credentials, outbox: Path) -> None:
    with (
        running_tally(credentials.folder) as tally,
        running_station(credentials, tally.port, outbox, WAITING_STATION) as station,
    ):
        read_line(station)
        os.killpg(station.pid, signal.SIGINT)
        os.killpg(station.pid, signal.SIGQUIT)
        tell(station)
        assert read_line(station) == "0 ended"
        assert numbers(tally) == [1, 2, 3, 4, 5]


def test_sigterm_ends_it_with_a_goodbye(credentials: Credentials, outbox: Path) -> None:
    with (
        running_tally(credentials.folder) as tally,
        running_station(credentials, tally.port, outbox, WAITING_STATION) as station,
    ):
        sender = int(read_line(station))
        os.kill(sender, signal.SIGTERM)
        assert tally.has_seen("bye")
        wait_for(lambda: not is_alive(sender), "it did not end")
        tell(station)
        assert read_line(station) == "4 ended"
    assert Outbox(outbox).count() == 4


def test_a_sender_that_was_killed_costs_no_time_and_no_event(credentials: Credentials, outbox: Path) -> None:
    with (
        running_tally(credentials.folder) as tally,
        running_station(credentials, tally.port, outbox, WAITING_STATION) as station,
    ):
        os.kill(int(read_line(station)), signal.SIGKILL)
        started = time.monotonic()
        tell(station)
        assert read_line(station) == "4 ended"
        assert time.monotonic() - started < 10
    assert Outbox(outbox).count() == 4


def test_it_dies_with_its_parent_and_the_next_run_sends_the_rest(
    credentials: Credentials, outbox: Path
) -> None:
    with running_tally(credentials.folder, "silent") as silent:
        script = WAITING_STATION.replace("acknowledged == 1", "state is SenderState.CONNECTED")
        with running_station(credentials, silent.port, outbox, script) as station:
            sender = int(read_line(station))
            station.kill()
            wait_for(lambda: not is_alive(sender), "it outlived its parent")
    assert Outbox(outbox).count() == 1
    with running_tally(credentials.folder) as tally:
        script = "sender = BackgroundSender(station, waiting); say(sender.finish(20))"
        assert run_station(credentials, tally.port, outbox, script) == ["0"]
        assert numbers(tally) == [1]


def test_a_tally_that_comes_late_and_one_that_comes_back(credentials: Credentials, outbox: Path) -> None:
    port = free_port()
    with running_station(
        credentials,
        port,
        outbox,
        """
put(1, 2)
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is SenderState.UNREACHABLE)
say(sender.status().why)
wait_for(lambda: sender.status().acknowledged == 2)
say("first")
sys.stdin.readline()
put(3, 4)
say(sender.finish(30), sender.status().acknowledged)
""",
    ) as station:
        assert read_line(station) == f"the tally at 127.0.0.1:{port} cannot be reached: Connection refused"
        with running_tally(credentials.folder, port=port):
            assert read_line(station) == "first"
        with running_tally(credentials.folder, port=port) as tally:
            tell(station)
            assert read_line(station) == "0 4"
            assert numbers(tally) == [1, 2, 3, 4]


def test_a_tally_that_is_not_ours_costs_no_time(credentials: Credentials, outbox: Path) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    credentials.host_certificate(authority=stranger).write_certificate(
        credentials.folder / "host_key-cert.pub"
    )
    script = """
put(1, 2)
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is SenderState.REFUSED)
time.sleep(2)
started = time.monotonic()
say(sender.finish(30), sender.status().state.value, time.monotonic() - started < 5)
say(sender.status().why)
"""
    with running_tally(credentials.folder) as tally:
        said = run_station(credentials, tally.port, outbox, script)
        assert said[0] == "2 refused True"
        assert said[1].endswith("; nothing was sent")
        assert tally.seen() == ["connected"]  # once, and never again


@pytest.mark.parametrize("behaviour", ["silent", "nobody"])
def test_nobody_waits_longer_than_was_said(credentials: Credentials, outbox: Path, behaviour: str) -> None:
    script = """
put(1, 2)
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is not SenderState.CONNECTING)
started = time.monotonic()
say(sender.finish(1), 0.9 < time.monotonic() - started < 8)
"""
    with contextlib.ExitStack() as stack:
        port = free_port()
        if behaviour != "nobody":
            port = stack.enter_context(running_tally(credentials.folder, behaviour)).port
        assert run_station(credentials, port, outbox, script) == ["2 True"]


def test_a_reader_of_our_output_sees_its_end_while_the_sender_lives(
    credentials: Credentials, outbox: Path
) -> None:
    script = """
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is not SenderState.CONNECTING)
nothing = os.open(os.devnull, os.O_WRONLY)
os.dup2(nothing, 1)
os.dup2(nothing, 2)
sys.stdin.readline()
"""
    with (
        running_tally(credentials.folder) as tally,
        running_station(credentials, tally.port, outbox, script) as station,
    ):
        assert station.stdout is not None
        assert station.stdout.read() == ""
        assert station.poll() is None
        tell(station)


def test_events_that_are_refused_or_not_taken_now(credentials: Credentials, outbox: Path) -> None:
    script = "put(1, 6); sender = BackgroundSender(station, waiting); say(sender.finish(20))"
    with running_tally(credentials.folder, "busy-first") as tally:
        assert run_station(credentials, tally.port, outbox, script) == ["0"]
        assert numbers(tally) == [1, 2, 3, 4, 5, 6]
    (credentials.folder / "received.jsonl").unlink()
    with running_tally(credentials.folder, "refuse-odd") as tally:
        assert run_station(credentials, tally.port, outbox, script) == ["0"]
        assert numbers(tally) == [2, 4, 6]
    assert Outbox(outbox).count_set_aside() == (3, 0)


def test_stations_killed_at_any_moment_lose_nothing(credentials: Credentials, outbox: Path) -> None:
    """A run that is killed again and again, in the end everything has arrived."""
    script = """
put(1, 40)
sender = BackgroundSender(station, waiting)
say("started")
time.sleep(60)
"""
    with running_tally(credentials.folder) as tally:
        for attempt in range(8):
            with running_station(credentials, tally.port, outbox, script) as station:
                read_line(station)
                time.sleep(0.02 * attempt)
                station.kill()
        finishing = "sender = BackgroundSender(station, waiting); say(sender.finish(20))"
        assert run_station(credentials, tally.port, outbox, finishing) == ["0"]
        assert set(numbers(tally)) == set(range(1, 41))
