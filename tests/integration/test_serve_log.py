"""What `tally serve` says while it serves: to a terminal, to journald, and only as much as was asked for."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import asyncssh
import pytest
from support.outside.client import HELLO, frame
from support.outside.tally import OutsideTally


@pytest.fixture
def tally(tmp_path: Path) -> OutsideTally:
    return OutsideTally.new(tmp_path / "tally")


async def _a_day(tally: OutsideTally, port: int) -> None:
    """A visit, a session that is refused, a stranger."""
    station = tally.station
    await station.report(port, station.visit(1, "WARD-1", status="needs-key"))
    async with await station.connect(port) as connection:
        with contextlib.suppress(asyncssh.Error):
            await connection.create_process(command="id")
    with contextlib.suppress(asyncssh.Error, OSError):
        await station.connect(port, username="root")


def test_each_start_stop_refusal_session_and_visit_is_a_line(tally: OutsideTally) -> None:
    with tally.served() as running:
        asyncio.run(_a_day(tally, running.port))
        assert running.end() == 0
    said = running.log
    lines = [line.split(" ", 1)[1] for line in said.splitlines()]
    assert lines[0].startswith("started: address=127.0.0.1:")
    assert lines[-1] == "stopped"
    assert "visit counted: WARD-1 needs-key site=main station=station" in lines
    assert [line for line in lines if line.startswith("session: station=station")]
    assert [line for line in lines if line.startswith("refused: a command was to be run")]
    assert [line for line in lines if line.startswith("refused: a certificate for another name")]
    for secret in ("PRIVATE KEY", "SSH SIGNATURE", (tally.folder / "station").read_text().split("\n")[1]):
        assert secret not in said


def test_only_as_much_as_was_asked_for(tally: OutsideTally) -> None:
    with tally.served("--log-level", "warning") as running:
        asyncio.run(_a_day(tally, running.port))
        assert running.end() == 0
    assert {line.split(" ")[1] for line in running.log.splitlines()} == {"refused:"}
    with tally.served("--log-level", "error") as running:
        asyncio.run(_a_day(tally, running.port))
        assert running.end() == 0
    assert running.log == ""


def test_sessions_and_visits_stand_in_the_audit_too(tally: OutsideTally) -> None:
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, tally.station.visit(1)))
        assert running.end() == 0
    (session,) = [one for one in tally.audit() if one["what"] == "session"]
    assert (session["station"], session["events"], session["refusals"]) == ("station", 2, 0)
    assert session["from"].startswith("127.0.0.1:")


def test_garbage_from_a_stranger_forges_no_line(tally: OutsideTally) -> None:
    async def main(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"SSH-2.0-\x1b[2J\r<0>forged\n" + frame(HELLO))
        await writer.drain()
        writer.close()
        await tally.station.report(port, tally.station.visit(1))

    with tally.served() as running:
        asyncio.run(main(running.port))
        assert running.end() == 0
    assert "\x1b" not in running.log
    assert not [line for line in running.log.splitlines() if not line.startswith("20")]
