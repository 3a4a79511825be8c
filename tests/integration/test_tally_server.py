"""The tally's server, met by an independent SSH client and by OpenSSH's own: who gets in, what is kept."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from support.tally_client import (
    HELLO,
    StationFiles,
    Talk,
    audit_lines,
    event_id,
    length_prefix,
    make_event,
    sign,
)
from support.tally_server import new_tally, served_here, stored_ids

from unbrick.tally.books import database
from unbrick.tally.door.caretaker import Caretaker
from unbrick.tally.door.limits import Limits
from unbrick.tally.door.server import TallyServer
from unbrick.tally.folder import TallyFolder
from unbrick.tally.trust.authority import enrol, revoke

QUICK = Limits(frame_seconds=1.0)


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    return new_tally(tmp_path / "tally")


def _refusals(folder: Path) -> list[str]:
    return [line["why"] for line in audit_lines(folder) if line["what"] == "refused"]


def _details(folder: Path) -> list[str]:
    lines = [line for line in audit_lines(folder) if line["what"] == "refused"]
    return [line.get("detail", line["why"]) for line in lines]


async def _until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def test_events_are_acknowledged_once_stored_and_counted_once(tally: Path) -> None:
    station = StationFiles(tally)
    events = station.signed(1, 20)
    ids = sorted(event_id(one) for one in events)

    async def main() -> None:
        async with served_here(tally) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            for _ in range(3):  # a replay, also within one frame
                (answer,) = await talk.send([*events, *events[:5]])
                assert answer["type"] == "acknowledge"
                assert sorted(set(answer["ids"])) == ids
                assert stored_ids(tally) == ids
            talk.say({"type": "bye", "text": "done"})
            assert await talk.hear() is None

    asyncio.run(main())
    assert _refusals(tally) == []


def test_two_sessions_with_the_same_events_at_once_count_them_once(tally: Path) -> None:
    station = StationFiles(tally)
    events = station.signed(1, 100)

    async def send(port: int) -> None:
        async with await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            for first in range(0, 100, 10):
                (answer,) = await talk.send(events[first : first + 10])
                assert answer["ids"] == [event_id(one) for one in events[first : first + 10]]

    async def main() -> None:
        async with served_here(tally) as port:
            await asyncio.gather(*(send(port) for _ in range(4)))

    asyncio.run(main())
    assert stored_ids(tally) == sorted(event_id(one) for one in events)


def test_what_can_never_be_stored_is_refused_and_the_rest_is_kept(tally: Path) -> None:
    station = StationFiles(tally)
    good, other = station.signed(1, 2)
    bad = replace(good, data=make_event(9).to_bytes())

    async def main() -> None:
        async with served_here(tally) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            refused, acknowledged = await talk.send([good, bad, other])
            assert refused["type"] == "refuse"
            assert (refused["ids"], refused["reason"]) == ([event_id(bad)], "bad-signature")
            assert acknowledged["ids"] == [event_id(good), event_id(other)]

    asyncio.run(main())
    assert len(_refusals(tally)) == 1


def test_events_of_another_station_are_taken_from_whoever_carries_them(tally: Path, tmp_path: Path) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")
    events = StationFiles(tmp_path / "stick", "stick-7").signed(1, 2)

    async def main() -> None:
        async with served_here(tally) as port, await StationFiles(tally).connect(port) as connection:
            (answer,) = await (await Talk.begin(connection)).send(events)
            assert answer["type"] == "acknowledge"

    asyncio.run(main())


FORWARDING = "not permitted: port-forwarding"
NOTHING_OFFERED = "no certificate was offered"

Attempt = Callable[[asyncssh.SSHClientConnection], Awaitable[object]]


def _process(**options: Any) -> Attempt:
    return lambda connection: connection.create_process(**options)


OTHER_REQUESTS: dict[str, Attempt] = {
    "a shell was asked for": _process(),
    "a command was to be run": _process(command="id"),
    "another subsystem was asked for": lambda connection: connection.start_sftp_client(),
    "another subsystem was asked for ": _process(subsystem="unbrick-tally2"),
    "not permitted: pty": _process(subsystem="unbrick-tally", term_type="xterm"),
    FORWARDING: lambda connection: connection.open_connection("127.0.0.1", 22),
    f"{FORWARDING} ": lambda connection: connection.start_server(lambda *_: None, "", 0),
    f"{FORWARDING}  ": lambda connection: connection.open_unix_connection("/run/x"),
    f"{FORWARDING}   ": lambda connection: connection.start_unix_server(lambda *_: None, "/x"),
    "a tunnel was asked for": lambda connection: connection.open_tun(),
    "a tunnel was asked for ": lambda connection: connection.open_tap(),
}


@pytest.mark.parametrize("why", OTHER_REQUESTS)
def test_nothing_but_our_subsystem_is_served(tally: Path, why: str) -> None:
    async def main() -> None:
        async with served_here(tally) as port, await StationFiles(tally).connect(port) as connection:
            with pytest.raises((asyncssh.ChannelOpenError, asyncssh.ChannelListenError)):
                await OTHER_REQUESTS[why](connection)
            (answer,) = await (await Talk.begin(connection)).send(StationFiles(tally).signed(1, 1))
            assert answer["type"] == "acknowledge"

    asyncio.run(main())
    assert _refusals(tally) == [why.strip()]


def _openssh(folder: Path, port: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    known = folder.parent / "known_hosts"
    known.write_text(f"@cert-authority * {(folder / 'authority.pub').read_text()}")
    options = [
        "-oIdentitiesOnly=yes",
        f"-oUserKnownHostsFile={known}",
        "-oGlobalKnownHostsFile=/dev/null",
        "-oStrictHostKeyChecking=yes",
        "-oHostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com",
        "-oBatchMode=yes",
    ]
    return subprocess.run(
        ["ssh", "-F", "none", *options, "-p", str(port), "-i", str(folder / "station"), *arguments],
        input=_frame(HELLO) if "-s" in arguments else "",
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def _frame(message: dict[str, Any]) -> str:
    body = json.dumps(message)
    return length_prefix(len(body)).decode("latin-1") + body


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["station@127.0.0.1", "id"], ["a command was to be run"]),
        (["-tt", "station@127.0.0.1"], ["not permitted: pty", "a shell was asked for"]),
        (["-A", "station@127.0.0.1", "id"], ["a command was to be run"]),
        (["-N", "-R0:127.0.0.1:1", "-oExitOnForwardFailure=yes", "station@127.0.0.1"], [FORWARDING]),
        (["-W", "127.0.0.1:22", "station@127.0.0.1"], [FORWARDING]),
        (["-s", "station@127.0.0.1", "sftp"], ["another subsystem was asked for"]),
        (["-oPubkeyAuthentication=no", "station@127.0.0.1"], [NOTHING_OFFERED]),
        (["-oPreferredAuthentications=password", "station@127.0.0.1"], [NOTHING_OFFERED]),
        (["-oPreferredAuthentications=keyboard-interactive", "station@127.0.0.1"], [NOTHING_OFFERED]),
        (["root@127.0.0.1"], ["a certificate for another name"]),
    ],
)  # fmt: skip
def test_openssh_is_refused_everything_else_and_each_refusal_is_one_line(
    tally: Path, arguments: list[str], why: list[str]
) -> None:
    async def main() -> None:
        async with served_here(tally) as port:
            done = await asyncio.to_thread(_openssh, tally, port, *arguments)
            assert done.returncode != 0
            assert done.stdout == ""
            assert "Host key verification failed" not in done.stderr
            await _until(lambda: len(_refusals(tally)) >= len(why))

    asyncio.run(main())
    assert [one for one in _refusals(tally) if "agent" not in one] == why


def test_openssh_gets_our_subsystem_and_trusts_the_host_by_its_certificate(tally: Path) -> None:
    async def main() -> None:
        async with served_here(tally) as port:
            done = await asyncio.to_thread(_openssh, tally, port, "-s", "station@127.0.0.1", "unbrick-tally")
            assert done.returncode == 0, done.stderr
            assert '{"type":"welcome","protocol":1,"time":"' in done.stdout

    asyncio.run(main())
    assert _refusals(tally) == []


def _certify(authority: Path, public: Path, *options: str) -> Path:
    """A certificate by OpenSSH's own hand."""
    subprocess.run(
        ["ssh-keygen", "-q", "-s", authority, "-I", "by hand", *options, public],
        check=True,
        capture_output=True,
    )
    return public.with_name(f"{public.stem}-cert.pub")


async def _denied(port: int, station: StationFiles, **changes: Any) -> None:
    with pytest.raises((asyncssh.PermissionDenied, asyncssh.ConnectionLost)):
        await station.connect(port, **changes)


def test_only_a_valid_certificate_of_our_authority_lets_in(tally: Path, tmp_path: Path) -> None:
    other = new_tally(tmp_path / "other")
    public = tmp_path / "station.pub"
    key = asyncssh.read_private_key(tally / "station")
    key.write_public_key(public)

    async def main() -> None:
        async with served_here(tally) as port:
            station = StationFiles(tally)
            await _denied(port, station, client_keys=[asyncssh.read_private_key(tally / "station")])
            await _denied(port, StationFiles(other))
            for options in (
                ("-n", "station", "-V", "20200101:20200102"),
                ("-n", "station", "-V", "+52w:+104w"),
                ("-n", "somebody"),
                ("-n", "station", "-h"),
                ("-n", "station", "-O", "force-command=id"),
                (),
            ):
                certificate = asyncssh.read_certificate(
                    _certify(TallyFolder(tally).authority, public, *options)
                )
                await _denied(port, station, client_keys=[(key, certificate)])
            stranger = asyncssh.generate_private_key("ssh-ed25519")
            stranger.write_public_key(tmp_path / "stranger.pub")
            made = asyncssh.read_certificate(
                _certify(TallyFolder(tally).authority, tmp_path / "stranger.pub", "-n", "station")
            )
            await _denied(port, station, client_keys=[(stranger, made)])
            await _denied(port, station, username="root")
            good = asyncssh.read_certificate(_certify(TallyFolder(tally).authority, public, "-n", "station"))
            async with await station.connect(port, client_keys=[(key, good)]) as connection:
                await Talk.begin(connection)

    asyncio.run(main())
    assert _refusals(tally) == [
        "a plain key, no Ed25519 certificate",
        "a certificate of another authority",
        "an expired certificate",
        "a certificate that is not valid yet",
        "a certificate for another name",
        "a certificate that is not for a station",
        "a certificate with conditions that this tally does not know",
        "a certificate for another name",
        "a certificate for a key that is not this station's",
        "a certificate for another name",
    ]


def test_a_certificate_without_its_key_lets_nobody_in(tally: Path) -> None:
    async def main() -> None:
        async with served_here(tally) as port:
            identity = (str(tally / "station"), str(tally / "station-cert.pub"))
            pretender = asyncssh.load_keypairs([identity])[0]
            assert pretender.has_cert
            vars(pretender)["_key"] = asyncssh.generate_private_key("ssh-ed25519")
            await _denied(port, StationFiles(tally), client_keys=[pretender])

    asyncio.run(main())
    assert _refusals(tally) == ["a login that was not signed with the certificate's key"]


def test_a_revoked_station_is_out_at_once_also_in_an_open_session(tally: Path, tmp_path: Path) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")
    stick, station = StationFiles(tmp_path / "stick", "stick-7"), StationFiles(tally)

    async def main() -> None:
        async with served_here(tally) as port, await stick.connect(port) as connection:
            talk = await Talk.begin(connection)
            (answer,) = await talk.send(stick.signed(1, 1))
            assert answer["type"] == "acknowledge"
            revoke(tally, "stick-7")
            (answer,) = await talk.send(stick.signed(2, 1))
            assert answer["type"] == "bye"
            assert await talk.hear() is None
            await _denied(port, stick)
            async with await station.connect(port) as other:
                (answer, _) = await (await Talk.begin(other)).send(stick.signed(3, 1))
                assert (answer["type"], answer["reason"]) == ("refuse", "revoked-station")

    asyncio.run(main())
    assert stored_ids(tally) == [event_id(one) for one in stick.signed(1, 1)]
    assert [why for why in _refusals(tally) if "revoked-station" not in why] == [
        "a revoked certificate",
        "a revoked certificate",
    ]


def test_while_the_register_cannot_be_read_nothing_is_taken_and_nothing_lost(tally: Path) -> None:
    station = StationFiles(tally)
    register = tally / "stations.json"
    good = register.read_bytes()

    async def main() -> None:
        async with served_here(tally) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            register.write_text("{}")
            (answer,) = await talk.send(station.signed(1, 1))
            assert answer["type"] == "busy"
            await _denied(port, station)
            register.write_bytes(good)
            async with await station.connect(port) as again:
                (answer,) = await (await Talk.begin(again)).send(station.signed(1, 1))
                assert answer["type"] == "acknowledge"

    asyncio.run(main())
    assert len(stored_ids(tally)) == 1


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (length_prefix(2**30) + b"x" * 1000, "a frame of 1073741824 bytes; at most 1048576 are taken"),
        (b"GET / HTTP/1.1\r\n\r\n", "a frame of 1195725856 bytes; at most 1048576 are taken"),
        (length_prefix(4) + b"\xff\xfe\0\0", "a frame that is not JSON"),
        (length_prefix(2) + b"[]", "a frame that is no message"),
        (length_prefix(0), "a frame that is not JSON"),
        (length_prefix(15) + b'{"type":"send"}', "a first message that is no hello"),
        (
            length_prefix(len(b'{"type":"hello","protocol":99}')) + b'{"type":"hello","protocol":99}',
            "a protocol of another version",
        ),
    ],
)
def test_garbage_ends_the_session_with_one_line(tally: Path, data: bytes, why: str) -> None:
    async def main() -> None:
        async with served_here(tally) as port, await StationFiles(tally).connect(port) as connection:
            talk = await Talk.begin(connection, greet=False)
            talk.write(data)
            answer = await talk.hear()
            assert answer is not None
            assert answer["type"] == "bye"
            assert await talk.hear() is None

    asyncio.run(main())
    assert _details(tally) == [why]


@pytest.mark.parametrize("data", [b"\0" * 10_000, b"GET / HTTP/1.0\r\n", b"SSH-2.0-x\r\n" + b"\xff" * 2000])
def test_what_is_no_ssh_is_one_line(tally: Path, data: bytes) -> None:
    async def main() -> None:
        async with served_here(tally) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(data)
            with suppress(ConnectionError):
                await reader.read()
            writer.close()
            await _until(lambda: bool(_refusals(tally)))
            async with await StationFiles(tally).connect(port) as connection:
                await Talk.begin(connection)

    asyncio.run(main())
    (why,) = _refusals(tally)
    assert why == "no SSH"


def test_one_byte_a_second_is_ended_and_others_are_served_meanwhile(tally: Path) -> None:
    station = StationFiles(tally)
    (event,) = station.signed(1, 1)
    frame = json.dumps({"type": "send", "events": [event.to_document()]}).encode()

    async def main() -> None:
        async with served_here(tally, QUICK) as port, await station.connect(port) as slow:
            talk = await Talk.begin(slow)
            answer = asyncio.create_task(talk.hear())
            for number, byte in enumerate(length_prefix(len(frame)) + frame):
                talk.write(bytes([byte]))
                await asyncio.sleep(0.05)
                if number % 5 == 0:
                    async with await station.connect(port) as other:
                        (answered,) = await (await Talk.begin(other)).send(station.signed(10 + number, 1))
                        assert answered["type"] == "acknowledge"
                if answer.done():
                    break
            assert (await answer) == {"type": "bye", "text": "a frame came too slowly"}

    asyncio.run(main())
    assert _refusals(tally) == ["a frame came too slowly"]
    assert event_id(event) not in stored_ids(tally)


def test_who_does_not_read_the_answers_is_not_listened_to_for_ever(tally: Path) -> None:
    station = StationFiles(tally)
    batch = [one.to_document() for one in station.signed(1, 100)]

    async def main() -> None:
        async with served_here(tally, QUICK) as port, await station.connect(port) as deaf:
            talk = await Talk.begin(deaf, window=2048)
            for _ in range(40):
                talk.say({"type": "send", "events": batch})
            await _until(lambda: bool(_refusals(tally)))

    asyncio.run(main())
    assert _refusals(tally) == ["answers were not read"]


def test_an_idle_session_ends_and_is_no_refusal(tally: Path) -> None:
    async def main() -> None:
        limits = Limits(idle_seconds=1.0)
        async with served_here(tally, limits) as port, await StationFiles(tally).connect(port) as connection:
            talk = await Talk.begin(connection)
            assert (await talk.hear()) == {"type": "bye", "text": "nothing was sent for too long"}

    asyncio.run(main())
    assert _refusals(tally) == []


def test_three_hundred_half_open_connections_do_not_keep_others_out(tally: Path) -> None:
    station = StationFiles(tally)
    limits = Limits(logins_at_once=100, login_seconds=120)

    async def main() -> None:
        async with served_here(tally, limits) as port:
            half_open = [await asyncio.open_connection("127.0.0.1", port) for _ in range(300)]
            for number in range(20):
                async with await station.connect(port) as connection:
                    (answer,) = await (await Talk.begin(connection)).send(station.signed(1 + number, 1))
                    assert answer["type"] == "acknowledge"
            ends = [asyncio.create_task(reader.read()) for reader, _ in half_open]
            await _until(lambda: sum(end.done() for end in ends) >= 200)
            assert sum(not end.done() for end in ends) >= 80, "no more than it takes"
            for _, writer in half_open:
                writer.close()
            await asyncio.gather(*ends, return_exceptions=True)

    asyncio.run(main())
    assert len(stored_ids(tally)) == 20
    lines = [line for line in audit_lines(tally) if line["what"] == "refused"]
    assert sum(line.get("more", 1) for line in lines) >= 200, "every one is told of or counted"
    assert len(lines) < 60, "and the audit is not flooded"


def test_who_does_not_log_in_is_sent_away(tally: Path) -> None:
    async def main() -> None:
        async with served_here(tally, Limits(login_seconds=0.5)) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            assert (await reader.read()).startswith(b"SSH-2.0-unbrick")
            writer.close()

    asyncio.run(main())
    assert _refusals(tally) == ["no login in time"]


def test_sessions_of_one_station_are_limited(tally: Path) -> None:
    station = StationFiles(tally)

    async def main() -> None:
        async with served_here(tally, Limits(sessions_per_station=2)) as port:
            one, two = await station.connect(port), await station.connect(port)
            with suppress(asyncssh.Error, OSError):
                three = await station.connect(port)
                await Talk.begin(three)
                raise AssertionError("a third session")
            one.close()
            await one.wait_closed()
            four = await station.connect(port)
            await Talk.begin(four)
            for connection in (two, four):
                connection.close()
                await connection.wait_closed()

    asyncio.run(main())
    assert _refusals(tally) == ["too many sessions of one station at once"]


def test_the_pace_of_a_session_is_held_back_and_nothing_is_lost(tally: Path) -> None:
    station = StationFiles(tally)
    took: list[float] = []

    async def main() -> None:
        limits = Limits(events_per_second=100, events_burst=10)
        async with served_here(tally, limits) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            start = asyncio.get_running_loop().time()
            for first in (1, 21, 41):
                (answer,) = await talk.send(station.signed(first, 20))
                assert answer["type"] == "acknowledge"
            took.append(asyncio.get_running_loop().time() - start)

    asyncio.run(main())
    assert took[0] >= 0.45
    assert len(stored_ids(tally)) == 60


def test_a_session_that_pours_without_listening_is_held_back_by_the_window(tally: Path) -> None:
    station = StationFiles(tally)
    large = [make_event(number, details={"text": "x" * 3000}) for number in range(1, 201)]
    events = [sign(event.to_bytes(), station.key) for event in large]

    async def main() -> None:
        async with served_here(tally) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            for first in range(0, 200, 50):
                batch = [one.to_document() for one in events[first : first + 50]]
                talk.say({"type": "send", "events": batch})
            answers = [await talk.hear() for _ in range(4)]
            assert [answer and answer["type"] for answer in answers] == ["acknowledge"] * 4

    asyncio.run(main())
    assert len(stored_ids(tally)) == 200


def test_the_end_of_the_server_commits_what_is_in_hand_and_says_bye(tally: Path) -> None:
    station = StationFiles(tally)

    async def main() -> None:
        server = TallyServer(TallyFolder(tally))
        address = await server.start("127.0.0.1", 0)
        async with await station.connect(address.port) as connection:
            talk = await Talk.begin(connection)
            talk.say({"type": "send", "events": [one.to_document() for one in station.signed(1, 200)]})
            await asyncio.sleep(0.01)
            stopping = asyncio.create_task(server.stop())
            answers = []
            while (answer := await talk.hear()) is not None:
                answers.append(answer["type"])
            await stopping
            assert answers in (["acknowledge", "bye"], ["bye"])
            assert len(stored_ids(tally)) == (200 if answers[0] == "acknowledge" else 0)

    asyncio.run(main())


def test_one_error_does_not_end_what_looks_after_the_tally(
    tally: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        again = asyncio.Event()

        def tick(_: Caretaker) -> None:
            if not failed:
                failed.append(True)
                raise IsADirectoryError("audit.log.1")
            again.set()

        failed: list[bool] = []
        monkeypatch.setattr(Caretaker, "tick", tick)
        server = TallyServer(TallyFolder(tally))
        await server.start("127.0.0.1", 0)
        async with asyncio.timeout(60):
            await again.wait()
        await server.stop()

    asyncio.run(main())


def test_time_is_the_tallys_own(tally: Path) -> None:
    async def main() -> None:
        server = TallyServer(TallyFolder(tally), clock=lambda: datetime.now(UTC) + timedelta(days=3 * 365))
        address = await server.start("127.0.0.1", 0)
        await _denied(address.port, StationFiles(tally))
        await server.stop()

    asyncio.run(main())
    assert _refusals(tally) == ["an expired certificate"]


def test_the_host_certificate_is_what_a_station_pins(tally: Path) -> None:
    async def main() -> None:
        async with served_here(tally) as port:
            seen = []

            class Client(asyncssh.SSHClient):
                def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
                    seen.append(key.export_public_key().decode().split()[1])
                    return True

            identity = [(str(tally / "station"), str(tally / "station-cert.pub"))]
            async with await asyncssh.connect(
                "127.0.0.1",
                port,
                username="station",
                client_keys=identity,
                known_hosts=([], [], []),
                client_factory=Client,
                config=None,
                server_host_key_algs=["ssh-ed25519-cert-v01@openssh.com"],
            ):
                assert seen == [(tally / "authority.pub").read_text().split()[1]]

    asyncio.run(main())


def test_a_full_disk_is_said_and_recovered_from(tally: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1536k", "tmpfs", small], check=True)
    try:
        folder = new_tally(small / "tally")
        asyncio.run(_fill_and_recover(folder, small / "ballast"))
    finally:
        subprocess.run(["umount", small], check=True)


async def _fill_and_recover(folder: Path, ballast: Path) -> None:
    station = StationFiles(folder)
    condition = folder / "condition"
    async with served_here(folder) as port, await station.connect(port) as connection:
        talk = await Talk.begin(connection)
        (answer,) = await talk.send(station.signed(1, 5))
        assert answer["type"] == "acknowledge"
        with suppress(OSError), ballast.open("wb") as stream:
            while True:
                stream.write(b"\0" * 4096)
                stream.flush()
        busy: list[str] = []
        acknowledged, first = 5, 6
        while len(busy) < 3:
            (answer,) = await talk.send(station.signed(first, 50))
            if answer["type"] == "acknowledge":
                acknowledged, first = acknowledged + 50, first + 50
            else:
                assert answer["type"] == "busy"
                busy.append(answer["text"])
            assert first < 5000
        assert "full" in busy[0]
        assert "full" in condition.read_text()
        assert len(stored_ids(folder)) == acknowledged
        ballast.unlink()
        (answer,) = await talk.send(station.signed(first, 50))
        assert answer["type"] == "acknowledge"
        assert condition.read_text().strip() == ""
    assert len(stored_ids(folder)) == acknowledged + 50
    said = [line["what"] for line in audit_lines(folder)]
    assert (said.count("storing-failed"), said.count("storing-again")) == (1, 1)


def test_a_locked_database_is_busy_and_recovers(tally: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = tuple(one.replace("=15000", "=200") for one in database._PRAGMAS)
    assert shorter != database._PRAGMAS
    monkeypatch.setattr(database, "_PRAGMAS", shorter)
    monkeypatch.setattr(database, "_NEEDED", database._NEEDED | {"busy_timeout": 200})
    station = StationFiles(tally)

    async def main() -> None:
        async with served_here(tally) as port, await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            lock = sqlite3.connect(tally / "tally.db", isolation_level=None)
            lock.execute("begin immediate")
            (answer,) = await talk.send(station.signed(1, 1))
            assert answer["type"] == "busy"
            lock.execute("rollback")
            lock.close()
            (answer,) = await talk.send(station.signed(1, 1))
            assert answer["type"] == "acknowledge"

    asyncio.run(main())
