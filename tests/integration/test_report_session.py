"""A session with the tally, against real servers: asyncssh, OpenSSH's sshd, and hosts that lie."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from support.cutting_line import cutting_line
from support.fake_tally import RunningTally, running_tally
from support.lying_host import lying_host
from support.openssh_tally import openssh_tally
from support.signed_events import id_of, unsigned_event
from support.ssh_credentials import Credentials, enrol_by_another, make_credentials

from unbrick.errors import UnbrickError, UsageError
from unbrick.events.wire import SignedEvent
from unbrick.report.outbox import Outbox
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.sending_loop import SendingLoop
from unbrick.report.session import Limits, TallyRefusedError, TallySession, TallyUnreachableError
from unbrick.settings.station_file import Tally

STRANGER = asyncssh.generate_private_key("ssh-ed25519")
EVENTS = [unsigned_event(number) for number in range(1, 6)]
QUICK = Limits(connect=5, handshake=20, answer=1)
HASTY = Limits(connect=5, handshake=1, answer=1)
KEX_INIT, KEX_ECDH_INIT = 20, 30


@pytest.fixture
def credentials(tmp_path: Path) -> Credentials:
    return make_credentials(tmp_path / "tally")


@pytest.fixture
def tally(credentials: Credentials) -> Iterator[RunningTally]:
    with running_tally(credentials.folder) as tally:
        yield tally


def send_all(station: Tally) -> None:
    with TallySession.open(station) as session:
        assert set(session.send(EVENTS).acknowledged) == {id_of(event) for event in EVENTS}


def refusal(station: Tally) -> TallyRefusedError:
    with pytest.raises(TallyRefusedError) as caught:
        TallySession.open(station)
    return caught.value


def breaking_off(work: Callable[[], object]) -> str:
    with pytest.raises(TallyUnreachableError) as caught:
        work()
    return caught.value.message


def test_what_is_sent_is_stored_and_acknowledged(credentials: Credentials, tally: RunningTally) -> None:
    send_all(credentials.station(tally.port))
    assert [event["sequence"] for event in tally.received()] == [1, 2, 3, 4, 5]
    assert tally.has_seen("bye")
    assert tally.seen() == ["connected", "login station-1", "bye"]


def test_a_session_takes_many_sendings_and_the_largest_one(
    credentials: Credentials, tally: RunningTally
) -> None:
    with TallySession.open(credentials.station(tally.port)) as session:
        for start in range(0, 1024, 256):
            events = [unsigned_event(number + 1) for number in range(start, start + 256)]
            assert len(session.send(events).acknowledged) == 256
        assert len(session.send([unsigned_event(9, text="x" * 4000)] * 200).acknowledged) == 1
        assert session.is_open
    assert not session.is_open


def test_only_the_algorithms_we_chose_are_offered(credentials: Credentials, tally: RunningTally) -> None:
    with TallySession.open(credentials.station(tally.port)) as session:
        transport = session._transport
        assert transport.host_key_type == "ssh-ed25519-cert-v01@openssh.com"
        assert transport.local_cipher == transport.remote_cipher == "aes256-gcm@openssh.com"
        assert transport.local_compression == transport.remote_compression == "none"
        assert transport.agreed_on_strict_kex


def test_new_keys_in_the_middle_of_a_session_are_checked_too(credentials: Credentials) -> None:
    with (
        running_tally(credentials.folder, "new-keys") as tally,
        TallySession.open(credentials.station(tally.port)) as session,
    ):
        exchanged = {session._transport.H}
        for _ in range(10):
            session.send([unsigned_event(number, text="x" * 1000) for number in range(1, 101)])
        exchanged.add(session._transport.H)
        assert len(exchanged) == 2
        # A host that is no longer ours is noticed at the next change of keys.
        session._transport._authority = STRANGER.public_data
        assert "not certified by" in breaking_off(lambda: send_much(session))


def send_much(session: TallySession) -> None:
    for _ in range(20):
        session.send([unsigned_event(number, text="x" * 1000) for number in range(1, 101)])


# -- hosts that are not the one the stick was made for


def spoiled(blob: bytes, position: int) -> bytes:
    return blob[:position] + bytes([blob[position] ^ 1]) + blob[position + 1 :]


LIES: dict[str, tuple[Callable[[Credentials], bytes], str]] = {
    "a plain key": (lambda c: c.host_certificate().public_data[-51:], "damaged"),
    "the bare key": (lambda c: asyncssh.read_private_key(c.folder / "host_key").public_data, "without"),
    "another authority": (lambda c: c.host_certificate(authority=STRANGER).public_data, "not certified by"),
    "a user's certificate": (lambda c: c.host_certificate(of_a_user=True).public_data, "not one for a host"),
    "another host": (
        lambda c: c.host_certificate(principals=("192.0.2.1",)).public_data,
        "not for 127.0.0.1",
    ),
    "a flipped bit in the key": (lambda c: spoiled(c.host_certificate().public_data, 80), "signature"),
    "a flipped bit in the signature": (lambda c: spoiled(c.host_certificate().public_data, -9), "signature"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_host_that_is_not_ours_is_told_nothing(credentials: Credentials, lie: str) -> None:
    shown, why = LIES[lie]
    with lying_host(credentials.folder / "host_key", shown(credentials)) as host:
        error = refusal(credentials.station(host.port))
    beginning = f"the tally at 127.0.0.1:{host.port} is not the one this stick was made for: "
    assert error.message.startswith(beginning)
    assert why in error.message
    assert error.message.endswith("; nothing was sent")
    assert host.packets() == [KEX_INIT, KEX_ECDH_INIT]
    assert b"station-1" not in host.heard


def test_a_copied_certificate_is_worth_nothing_without_its_key(credentials: Credentials) -> None:
    right = credentials.host_certificate().public_data
    with lying_host(credentials.folder / "station", right) as host:
        assert "does not own the key" in refusal(credentials.station(host.port)).message
    assert host.packets() == [KEX_INIT, KEX_ECDH_INIT]


def test_a_spoiled_key_exchange_is_refused(credentials: Credentials) -> None:
    right = credentials.host_certificate().public_data
    with lying_host(credentials.folder / "host_key", right, spoil=True) as host:
        assert "does not own the key" in refusal(credentials.station(host.port)).message
    assert host.packets() == [KEX_INIT, KEX_ECDH_INIT]


def test_the_lying_host_is_believed_when_it_tells_the_truth(credentials: Credentials) -> None:
    """So that the refusals above are about the lies: here the login is tried, and fails there."""
    right = credentials.host_certificate().public_data
    with lying_host(credentials.folder / "host_key", right) as host:
        assert "does not let this station" in refusal(credentials.station(host.port)).message
    assert host.packets()[:3] == [KEX_INIT, KEX_ECDH_INIT, 21]


def test_a_server_that_has_no_certificate_at_all_is_told_nothing(credentials: Credentials) -> None:
    (credentials.folder / "host_key-cert.pub").unlink()
    with running_tally(credentials.folder) as tally:
        assert "nor by anyone; nothing was sent" in refusal(credentials.station(tally.port)).message
        assert tally.seen() == ["connected"]


def test_the_same_tally_under_another_name_is_not_believed(
    credentials: Credentials, tally: RunningTally
) -> None:
    assert "not for localhost" in refusal(credentials.station(tally.port, host="localhost")).message
    assert tally.seen() == ["connected"]


# -- OpenSSH's own server


def as_this_user(credentials: Credentials, port: int) -> Tally:
    """sshd knows system users only: the certificate is for the one we are."""
    key = asyncssh.read_private_key(credentials.folder / "station")
    name = getpass.getuser()
    made = credentials.authority.generate_user_certificate(key, name, principals=[name])
    made.write_certificate(credentials.folder / "station-cert.pub")
    return credentials.station(port)


def test_openssh_with_a_host_certificate_is_believed_and_takes_events(credentials: Credentials) -> None:
    with openssh_tally(credentials) as port:
        send_all(as_this_user(credentials, port))
    lines = (credentials.folder / "received").read_bytes().splitlines()
    assert lines == [event.data for event in EVENTS]
    assert "Accepted publickey" in (credentials.folder / "sshd.log").read_text()


def test_openssh_with_a_plain_host_key_is_told_nothing(credentials: Credentials) -> None:
    with openssh_tally(credentials, certified=False) as port:
        assert "nothing was sent" in refusal(as_this_user(credentials, port)).message
    log = (credentials.folder / "sshd.log").read_text()
    assert "Connection from" in log
    assert "publickey" not in log


def test_openssh_with_the_certificate_of_another_authority_is_told_nothing(credentials: Credentials) -> None:
    credentials.host_certificate(authority=STRANGER).write_certificate(
        credentials.folder / "host_key-cert.pub"
    )
    with openssh_tally(credentials) as port:
        assert "is not certified by SHA256:" in refusal(as_this_user(credentials, port)).message


# -- who is let in


def test_a_station_of_another_authority_is_not_let_in(credentials: Credentials, tally: RunningTally) -> None:
    stranger = enrol_by_another(credentials, STRANGER)
    error = refusal(stranger.station(tally.port))
    assert "does not let this station (station-1) in" in error.message
    assert "unbrick tally enrol" in (error.hint or "")


def test_what_the_station_file_names_must_be_a_key_and_its_certificate(credentials: Credentials) -> None:
    right = credentials.station(1)
    other = make_credentials(credentials.folder.with_name("other"))
    wrong = [
        (replace(right, key=credentials.folder / "missing"), "cannot be read"),
        (replace(right, key=credentials.folder / "station.pub"), "cannot be read"),
        (replace(right, key=Path(os.devnull)), "cannot be read"),
        (replace(right, certificate=credentials.folder / "missing"), "cannot be read"),
        (replace(right, certificate=credentials.folder / "station.pub"), "not an Ed25519 certificate"),
        (replace(right, certificate=credentials.folder / "host_key-cert.pub"), "not the certificate of a st"),
        (replace(right, certificate=other.folder / "station-cert.pub"), "is not that of station"),
    ]
    for station, why in wrong:
        with pytest.raises(UsageError, match=why) as caught:
            TallySession.open(station)
        assert "\n" not in caught.value.message


# -- hosts that fail


def test_a_tally_that_is_not_there(credentials: Credentials) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert "cannot be reached: Connection refused" in breaking_off(
        lambda: TallySession.open(credentials.station(port))
    )
    assert "cannot be reached" in breaking_off(
        lambda: TallySession.open(credentials.station(1, host="no-such-host.invalid"))
    )


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 400 no\r\n\r\n", b"SSH-2.0-x\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 4000]
)
def test_a_host_that_is_no_ssh_server_or_falls_silent(credentials: Credentials, said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        held: list[socket.socket] = []

        def answer() -> None:
            client, _ = listener.accept()
            client.sendall(said)
            held.append(client)

        thread = threading.Thread(target=answer)
        thread.start()
        station = credentials.station(listener.getsockname()[1])
        started = time.monotonic()
        breaking_off(lambda: TallySession.open(station, limits=HASTY))
        thread.join()
        held[0].close()
    assert time.monotonic() - started < 30


def test_one_byte_a_second_does_not_hold_us(credentials: Credentials) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        over = threading.Event()

        def drip() -> None:
            client, _ = listener.accept()
            with client:
                for letter in b"SSH-2.0-" + b"x" * 200:
                    if over.wait(0.2):
                        return
                    try:
                        client.sendall(bytes([letter]))
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        station = credentials.station(listener.getsockname()[1])
        message = breaking_off(lambda: TallySession.open(station, limits=HASTY))
        over.set()
        thread.join()
    assert "did not answer within 1 s" in message


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [("silent", "did not answer within 1 s"), ("garbage", "broke off"), ("hang-up-first", "hung up")],
)
def test_a_tally_that_fails_in_the_middle(credentials: Credentials, behaviour: str, why: str) -> None:
    with (
        running_tally(credentials.folder, behaviour) as tally,
        TallySession.open(credentials.station(tally.port), limits=QUICK) as session,
    ):
        assert why in breaking_off(lambda: session.send(EVENTS))
        assert not session.is_open
        breaking_off(lambda: session.send(EVENTS))


def test_a_tally_of_another_version(credentials: Credentials) -> None:
    with running_tally(credentials.folder, "newer") as tally:
        assert "another version" in refusal(credentials.station(tally.port)).message


def test_a_busy_tally_has_stored_nothing(credentials: Credentials) -> None:
    with (
        running_tally(credentials.folder, "busy-first") as tally,
        TallySession.open(credentials.station(tally.port)) as session,
    ):
        answer = session.send(EVENTS)
        assert (answer.acknowledged, answer.refused, answer.busy) == ((), (), "its disk is full")
        session.send(EVENTS)
        assert len(session.send(EVENTS).acknowledged) == 5


def test_what_the_tally_refuses_is_told_apart(credentials: Credentials) -> None:
    with (
        running_tally(credentials.folder, "refuse-odd") as tally,
        TallySession.open(credentials.station(tally.port)) as session,
    ):
        answer = session.send(EVENTS)
    assert answer.acknowledged == (id_of(EVENTS[1]), id_of(EVENTS[3]))
    assert [(refused.reason, len(refused.ids)) for refused in answer.refused] == [("bad-signature", 3)]


def test_a_tally_that_is_killed_leaves_an_error_and_no_hang(credentials: Credentials) -> None:
    with running_tally(credentials.folder, "silent") as tally:
        session = TallySession.open(credentials.station(tally.port))
        threading.Timer(0.3, tally.process.kill).start()
        assert "hung up" in breaking_off(lambda: session.send(EVENTS))
        session.close()


def test_an_answer_about_other_events_counts_for_nothing(
    credentials: Credentials, tally: RunningTally
) -> None:
    with TallySession.open(credentials.station(tally.port)) as session:
        assert session.send([]).acknowledged == ()
        stranger = SignedEvent(b"not an event", "x")
        with pytest.raises(UnbrickError):
            session.send([stranger] * 257)


# -- lines that are cut


class _Orders:
    """Finish when nothing waits, with a clock that runs fast, so that pauses are short."""

    def __init__(self) -> None:
        self.finish_by = self.clock() + 60 * FASTER

    def clock(self) -> float:
        return time.monotonic() * FASTER

    def wait(self, seconds: float) -> None:
        time.sleep(seconds / FASTER)


FASTER = 50


@pytest.mark.parametrize("towards_tally", [True, False])
def test_a_line_cut_anywhere_loses_nothing(
    credentials: Credentials, tally: RunningTally, tmp_path: Path, towards_tally: bool
) -> None:
    """Within the key exchange, the login, the greeting, in the middle of a frame and of its answer."""
    outbox = Outbox(tmp_path / "outbox")
    for number in range(1, 61):
        outbox.put(unsigned_event(number))
    cuts = [0, 30, 1400, 2400, 2600, 2800, 2900, 3000, 3100, 3200, 4000, 8000]
    shown: list[SenderStatus] = []
    orders = _Orders()
    with cutting_line(tally.port, cuts, towards_tally=towards_tally) as line:
        station = credentials.station(line.port)
        SendingLoop(
            outbox, lambda: TallySession.open(station), orders, shown.append, clock=orders.clock
        ).run()
        made = line.connections
    assert outbox.count() == 0
    assert {event["sequence"] for event in tally.received()} == set(range(1, 61))
    assert made > 5
    assert SenderState.UNREACHABLE in {status.state for status in shown}
    assert SenderState.REFUSED not in {status.state for status in shown}


# -- clocks


PRELUDE = """
import sys
from datetime import datetime
from pathlib import Path
from support.signed_events import unsigned_event
from unbrick.settings.station_file import Tally
from unbrick.report.session import TallyRefusedError, TallySession

folder, port, host_ca = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
station = Tally("127.0.0.1", port, host_ca, folder / "station", folder / "station-cert.pub")
"""
SENDING_PROGRAM = """
with TallySession.open(station) as session:
    print(datetime.now().year, len(session.send([unsigned_event(1)]).acknowledged))
"""


REFUSED_PROGRAM = """
try:
    TallySession.open(station)
except TallyRefusedError as error:
    print(*[word for word in error.message.replace(";", " ").split() if word == "damaged"])
"""


def run_program(
    program: str, credentials: Credentials, port: int, *before: str
) -> subprocess.CompletedProcess[str]:
    arguments = [str(credentials.folder), str(port), credentials.host_ca]
    return subprocess.run(
        [*before, sys.executable, "-c", PRELUDE + program, *arguments],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "FAKETIME_DONT_FAKE_MONOTONIC": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("year", ["2009", "2037"])
def test_a_machine_with_a_wrong_clock_still_reports(
    credentials: Credentials, tally: RunningTally, year: str
) -> None:
    faketime = shutil.which("faketime")
    assert faketime, "install the Debian package faketime"
    wrong = (faketime, "-m", f"{year}-01-01 00:00:00")
    done = run_program(SENDING_PROGRAM, credentials, tally.port, *wrong)
    assert (done.stdout, done.stderr) == (f"{year} 1\n", "")


def test_nothing_is_written_to_the_terminal(credentials: Credentials) -> None:
    """paramiko logs what it stumbles over, with a stack trace, which Python prints where nobody listens."""
    with lying_host(credentials.folder / "host_key", b"nonsense") as host:
        done = run_program(REFUSED_PROGRAM, credentials, host.port)
    assert (done.stdout, done.stderr) == ("damaged\n", "")
