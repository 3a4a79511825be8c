"""Asking through the sender's process: over the real server, a line that is cut, a sender that is killed."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import asyncssh
import pytest
from support.cutting_line import cutting_line
from support.fake_tally import running_tally
from support.ssh_credentials import Credentials, make_credentials
from support.station_program import run_station, running_station
from support.tally_client import audit_lines
from support.tally_server import new_tally, served_by_program, stored_ids

from unbrick.report.outbox import Outbox

SECRET = "314159-265358-979323"

ASK = """
from unbrick.report.asking import AskRefusedError, CannotAskError, NoAnswerError

def ask(number, seconds=60):
    payload = {"number": number, "password": "314159-265358-979323"}
    answer = sender.requester.ask("echo", payload, seconds)
    assert answer.payload == payload, number
    return answer

def tried(seconds=60):
    try:
        return ask(0, seconds)
    except (AskRefusedError, CannotAskError, NoAnswerError) as error:
        return type(error).__name__ + ": " + error.message

def in_a_fork(work):
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return child

def all_went_well(children):
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * len(children)

def put_signed(count):
    from support.tally_client import StationFiles
    for one in StationFiles(folder).signed(1, count):
        outbox.put(one)

"""


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outbox"


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return make_credentials(tmp_path / "fake")


@pytest.fixture
def tally(tmp_path: Path) -> Credentials:
    """A real tally's folder."""
    folder = new_tally(tmp_path / "tally")
    return Credentials(folder, asyncssh.read_public_key(folder / "authority.pub"))


def test_forks_ask_at_once_while_a_large_outbox_is_sent(tally: Credentials, outbox: Path) -> None:
    script = f"""{ASK}
put_signed(600)
sender = BackgroundSender(station, waiting)
children = [in_a_fork(lambda: [ask(10 * one + number) for number in range(5)]) for one in range(6)]
ask(100)
say(all_went_well(children))
say(sender.finish(60), sender.status().acknowledged)
say("314159" in repr(sender.status()))
"""
    with served_by_program(tally.folder) as server:
        assert run_station(tally, server.port, outbox, script) == ["True", "0 600", "False"]
        assert server.end() == 0
    assert len(stored_ids(tally.folder)) == 600
    lines = audit_lines(tally.folder)
    assert sum(line.get("more", 1) for line in lines if line["what"] == "asked-echo") == 31
    assert [line["what"] for line in lines].count("session") == 1
    for folder in (tally.folder, outbox):
        for path in folder.rglob("*"):
            assert path.is_dir() or SECRET.encode() not in path.read_bytes(), path


@pytest.mark.parametrize("towards_tally", [True, False])
def test_a_line_cut_anywhere_delays_an_answer_and_loses_no_report(
    tally: Credentials, outbox: Path, towards_tally: bool
) -> None:
    script = f"""{ASK}
put_signed(20)
sender = BackgroundSender(station, waiting)
for number in range(12):
    ask(number, 120)
say(sender.finish(60))
"""
    cuts = [0, 1400, 2600, 3200, 4000]
    with served_by_program(tally.folder) as server:
        with cutting_line(server.port, cuts, towards_tally=towards_tally) as line:
            assert run_station(tally, line.port, outbox, script) == ["0"]
        assert line.connections > 3
    assert len(stored_ids(tally.folder)) == 20


def test_the_death_of_the_sender_is_an_error_at_once_and_the_next_one_answers(
    credentials: Credentials, outbox: Path
) -> None:
    script = f"""{ASK}
put(1, 1)
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().acknowledged == 1)
say(sender._child.pid)
say(tried(290))
say(tried(290))
put(2, 3)
say(sender.finish(5))
"""
    with (
        running_tally(credentials.folder, "ask-no-answer") as silent,
        running_station(credentials, silent.port, outbox, script) as station,
    ):
        assert station.stdout is not None
        sender = int(station.stdout.readline())
        assert silent.has_seen("asked 1")
        os.kill(sender, signal.SIGKILL)
        gone = "NoAnswerError: the tally cannot be asked: the process that talks to it has ended\n"
        assert [station.stdout.readline() for _ in range(3)] == [gone, gone, "2\n"]
    assert Outbox(outbox).count() == 2
    with running_tally(credentials.folder, "ask") as tally:
        script = f"{ASK}sender = BackgroundSender(station, waiting)\nask(1)\nsay(sender.finish(20))"
        assert run_station(credentials, tally.port, outbox, script) == ["0"]


def test_a_tally_of_protocol_1_takes_reports_and_says_that_it_cannot_be_asked(
    credentials: Credentials, outbox: Path
) -> None:
    script = f"""{ASK}
put(1, 300)
sender = BackgroundSender(station, waiting)
say(tried())
say(tried())
put(301, 310)
say(sender.finish(30), sender.status().acknowledged)
"""
    error = "CannotAskError: the tally cannot be asked: it is of an earlier version, which takes reports only"
    with running_tally(credentials.folder) as tally:
        assert run_station(credentials, tally.port, outbox, script) == [error, error, "0 310"]
        assert [event["sequence"] for event in tally.received()] == list(range(1, 311))
        assert tally.seen() == ["connected", "login station-1", "bye"]


@pytest.mark.parametrize("behaviour", ["ask", "ask-again", "ask-others"])
def test_an_answer_counts_once_and_only_for_what_was_asked(
    credentials: Credentials, outbox: Path, behaviour: str
) -> None:
    script = f"""{ASK}
sender = BackgroundSender(station, waiting)
for number in range(5):
    ask(number)
put(1, 5)
say(sender.finish(20))
"""
    with running_tally(credentials.folder, behaviour) as tally:
        assert run_station(credentials, tally.port, outbox, script) == ["0"]
        assert tally.seen().count("connected") == 1


@pytest.mark.parametrize("behaviour", ["ask-huge", "ask-nonsense", "ask-cuts", "ask-no-answer"])
def test_a_tally_that_answers_nothing_sensible_costs_the_asker_its_time_and_no_report(
    credentials: Credentials, outbox: Path, behaviour: str
) -> None:
    seconds = 1 if behaviour == "ask-no-answer" else 100
    script = f"""{ASK}
put(1, 10)
sender = BackgroundSender(station, waiting)
say(tried({seconds}))
put(11, 20)
say(sender.finish(60))
"""
    why = "the tally cannot be asked: the session with it broke off again and again"
    if behaviour == "ask-no-answer":
        why = "the tally did not answer within 1 s"
    with running_tally(credentials.folder, behaviour) as tally:
        said = run_station(credentials, tally.port, outbox, script)
        assert said == [f"NoAnswerError: {why}", "0"]
        assert {event["sequence"] for event in tally.received()} == set(range(1, 21))


def test_an_ask_waits_for_a_tally_that_comes_late_also_where_nothing_is_to_be_sent(
    credentials: Credentials, outbox: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = f"""{ASK}
sender = BackgroundSender(station, waiting)
wait_for(lambda: sender.status().state is SenderState.UNREACHABLE)
say(tried(0.5))
child = in_a_fork(lambda: ask(1, 120))
say("asked")
say(all_went_well([child]))
sender.finish(5)
"""
    with running_station(credentials, port, outbox, script) as station:
        assert station.stdout is not None
        refused = f"the tally at 127.0.0.1:{port} cannot be reached: Connection refused"
        said = f"NoAnswerError: the tally did not answer within 0.5 s: {refused}\n"
        assert [station.stdout.readline() for _ in range(2)] == [said, "asked\n"]
        with running_tally(credentials.folder, "ask", port=port):
            assert station.stdout.readline() == "True\n"


def test_a_tally_that_does_not_let_us_in_is_an_error_at_once(credentials: Credentials, outbox: Path) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    credentials.host_certificate(authority=stranger).write_certificate(
        credentials.folder / "host_key-cert.pub"
    )
    script = (
        f"{ASK}sender = BackgroundSender(station, waiting)\nsay(tried(290))\nsay(tried(290))\nsender.end()"
    )
    with running_tally(credentials.folder, "ask") as tally:
        for line in run_station(credentials, tally.port, outbox, script):
            assert line.startswith("NoAnswerError: the tally cannot be asked: the tally at 127.0.0.1:")
            assert line.endswith("; nothing was sent")
