"""What the tally's SSH server leaves out nobody misses, and what it remembers of a login lets nobody in."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import asyncssh
import paramiko
import pytest
from asyncssh.connection import SSHConnection
from asyncssh.constants import MSG_IGNORE
from support.tally_client import HELLO, StationFiles, Talk, audit_lines, event_id
from support.tally_server import new_tally, served_here, stored_ids

from unbrick.events.wire import FrameReader, SignedEvent, encode_frame
from unbrick.report.session import TallySession
from unbrick.settings.station_file import Tally as StationTally
from unbrick.tally.door.connection import StationConnection
from unbrick.tally.door.server import CIPHERS
from unbrick.tally.trust.authority import enrol, revoke, unrevoke

ROUNDS, AT_ONCE = 30, 20
REKEYED_AFTER = 16 * 1024
OTHER_TALLY = "a certificate of another authority"


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    return new_tally(tmp_path / "tally")


@pytest.fixture
def exchanges(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """One entry for each exchange of keys that the server took part in; nothing empty is sent meanwhile."""
    found: list[None] = []
    sent: list[int] = []
    exchange, send = SSHConnection._send_kexinit, SSHConnection.send_packet

    def count_exchange(self: SSHConnection) -> None:
        if isinstance(self, StationConnection):
            found.append(None)
        exchange(self)

    def note(self: SSHConnection, pkttype: int, *arguments: bytes, **options: object) -> None:
        if isinstance(self, StationConnection):
            sent.append(pkttype)
        send(self, pkttype, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(SSHConnection, "_send_kexinit", count_exchange)
    monkeypatch.setattr(SSHConnection, "send_packet", note)
    yield found
    assert sent
    assert MSG_IGNORE not in sent


def batches(station: StationFiles) -> list[list[SignedEvent]]:
    return [station.signed(1 + AT_ONCE * number, AT_ONCE) for number in range(ROUNDS)]


def ids(sent: list[list[SignedEvent]]) -> list[str]:
    return sorted(event_id(one) for batch in sent for one in batch)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_asyncssh_reports_on_while_keys_are_exchanged_anew(
    tally: Path, exchanges: list[None], cipher: str
) -> None:
    sent = batches(StationFiles(tally))

    async def main() -> None:
        options = {"rekey_bytes": REKEYED_AFTER, "encryption_algs": [cipher]}
        async with (
            served_here(tally) as port,
            await StationFiles(tally).connect(port, **options) as connection,
        ):
            talk = await Talk.begin(connection)
            for batch in sent:
                (answer,) = await talk.send(batch)
                assert answer["type"] == "acknowledge"

    asyncio.run(main())
    assert len(exchanges) > 5
    assert sorted(stored_ids(tally)) == ids(sent)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_paramiko_reports_on_while_keys_are_exchanged_anew(
    tally: Path, exchanges: list[None], cipher: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paramiko.packet.Packetizer, "REKEY_BYTES", REKEYED_AFTER)
    monkeypatch.setattr(paramiko.Transport, "_preferred_ciphers", (cipher,))
    sent = batches(StationFiles(tally))
    authority = (tally / "authority.pub").read_text().strip()

    def report(port: int) -> None:
        station = StationTally("127.0.0.1", port, authority, tally / "station", tally / "station-cert.pub")
        with TallySession.open(station) as session:
            for batch in sent:
                assert len(session.send(batch).acknowledged) == AT_ONCE

    async def main() -> None:
        async with served_here(tally) as port:
            await asyncio.to_thread(report, port)

    asyncio.run(main())
    assert len(exchanges) > 5
    assert sorted(stored_ids(tally)) == ids(sent)


@pytest.mark.parametrize("cipher", CIPHERS)
def test_openssh_reports_on_while_keys_are_exchanged_anew(
    tally: Path, exchanges: list[None], cipher: str
) -> None:
    sent = batches(StationFiles(tally))
    known = tally.parent / "known_hosts"
    known.write_text(f"@cert-authority * {(tally / 'authority.pub').read_text()}")
    options = [
        "-oIdentitiesOnly=yes",
        f"-oUserKnownHostsFile={known}",
        "-oGlobalKnownHostsFile=/dev/null",
        "-oStrictHostKeyChecking=yes",
        "-oHostKeyAlgorithms=ssh-ed25519-cert-v01@openssh.com",
        "-oBatchMode=yes",
        f"-oRekeyLimit={REKEYED_AFTER}",
        f"-oCiphers={cipher}",
    ]

    def report(port: int) -> None:
        where = ["-p", str(port), "-i", str(tally / "station"), "-s", "station@127.0.0.1", "unbrick-tally"]
        command = ["ssh", "-F", "none", *options, *where]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            reader, answers = FrameReader(), []
            messages = [HELLO]
            messages += [{"type": "send", "events": [one.to_document() for one in batch]} for batch in sent]
            for message in messages:
                program.stdin.write(encode_frame(message))
                program.stdin.flush()
                heard: list[dict[str, Any]] = []
                while not heard:
                    heard = list(reader.feed(os.read(program.stdout.fileno(), 65536)))
                answers += [one["type"] for one in heard]
            program.stdin.close()
            assert program.wait(60) == 0
        assert answers == ["welcome", *["acknowledge"] * ROUNDS]

    async def main() -> None:
        async with served_here(tally) as port:
            await asyncio.to_thread(report, port)

    asyncio.run(main())
    assert len(exchanges) > 5
    assert sorted(stored_ids(tally)) == ids(sent)


async def is_let_in(port: int, station: StationFiles, **changes: object) -> bool:
    try:
        async with await station.connect(port, **changes) as connection:
            await Talk.begin(connection)
    except (asyncssh.PermissionDenied, asyncssh.ConnectionLost):
        return False
    return True


def shown(folder: Path, certificate: bytes) -> asyncssh.SSHKeyPair:
    """The station's key, with a certificate of these bytes."""
    identity = (str(folder / "station"), str(folder / "station-cert.pub"))
    pair = asyncssh.load_keypairs([identity])[0]
    assert pair.has_cert
    pair.public_data = certificate
    return pair


def test_a_certificate_of_other_bytes_is_not_the_one_that_was_let_in(tally: Path) -> None:
    station = StationFiles(tally)
    good = asyncssh.load_keypairs([(str(tally / "station"), str(tally / "station-cert.pub"))])[0].public_data
    places = {"its signature": len(good) - 1, "its name": good.index(b"station"), "its nonce": 60}

    async def main() -> None:
        async with served_here(tally) as port:
            for place in places.values():
                assert await is_let_in(port, station, client_keys=[shown(tally, good)])
                other = good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :]
                assert not await is_let_in(port, station, client_keys=[shown(tally, other)])

    asyncio.run(main())
    refused = [line["why"] for line in audit_lines(tally) if line["what"] == "refused"]
    assert len(refused) == len(places)


def test_a_certificate_that_was_let_in_goes_with_its_revocation_and_comes_back_with_it(
    tally: Path, tmp_path: Path
) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")
    stick = StationFiles(tmp_path / "stick", "stick-7")

    async def main() -> None:
        async with served_here(tally) as port:
            assert await is_let_in(port, stick)
            revoke(tally, "stick-7")
            assert not await is_let_in(port, stick)
            unrevoke(tally, "stick-7")
            assert await is_let_in(port, stick)

    asyncio.run(main())


def test_a_certificate_that_was_let_in_is_none_for_a_tally_of_another_authority(
    tally: Path, tmp_path: Path
) -> None:
    """All in one process, so that what is remembered is there: another server, then another authority."""
    other = new_tally(tmp_path / "other")
    station = StationFiles(tally)

    async def main() -> None:
        async with served_here(tally) as port, served_here(other) as elsewhere:
            assert await is_let_in(port, station)
            assert not await is_let_in(elsewhere, station)
            (tally / "authority.pub").write_bytes((other / "authority.pub").read_bytes())
        for name in ("tally.db", "tally.mark"):  # which say of which tally they are
            (tally / name).write_bytes((other / name).read_bytes())
        async with served_here(tally) as port:
            assert not await is_let_in(port, station)

    asyncio.run(main())
    for folder in (tally, other):
        refused = [line["why"] for line in audit_lines(folder) if line["what"] == "refused"]
        assert refused == [OTHER_TALLY]
