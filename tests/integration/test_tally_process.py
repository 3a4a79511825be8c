"""The tally as a process: killed under load, ended by signals, started twice; and the commands around it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import stat
from contextlib import nullcontext, suppress
from pathlib import Path

import asyncssh
import pytest
from support.program import Ended, run_program
from support.tally_client import StationFiles, Talk, audit_lines, event_id
from support.tally_server import ServerProcess, new_tally, served_by_program, stored_ids

from unbrick.events.wire import SignedEvent

KILLS = int(os.environ.get("UNBRICK_TALLY_KILLS", "4"))
"""How often the server is killed under load; 100 where there is time."""
SENDERS = 4


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    made = run_program("tally", "init", tmp_path / "tally", "--address", "127.0.0.1:2291")
    assert made.code == 0, made.said
    return tmp_path / "tally"


class Load:
    """Senders that keep on sending, and what was acknowledged to them."""

    def __init__(self, station: StationFiles) -> None:
        self._station = station
        self.acknowledged: set[str] = set()
        self.sent: set[str] = set()
        self._sequence = [1] * SENDERS

    async def press(self, port: int, killed: asyncio.Event) -> None:
        """Send until the server is gone; what was not acknowledged is sent again next time."""
        await asyncio.gather(*(self._send(number, port, killed) for number in range(SENDERS)))

    async def _send(self, number: int, port: int, killed: asyncio.Event) -> None:
        with suppress(asyncssh.Error, OSError):
            async with await self._station.connect(port) as connection:
                talk = await Talk.begin(connection)
                while not killed.is_set():
                    run = f"20240719T090000Z-0000{number:02x}"
                    events = self._station.signed(self._sequence[number], 5, run)
                    self.sent |= {event_id(one) for one in events}
                    answers = await talk.send(events)
                    if not answers or answers[-1]["type"] != "acknowledge":
                        return
                    self.acknowledged |= set(answers[-1]["ids"])
                    self._sequence[number] += 5


def test_whatever_was_acknowledged_survives_every_kill_and_nothing_is_there_twice(tally: Path) -> None:
    load = Load(StationFiles(tally))
    chance = random.Random(291)

    async def until_killed(server: ServerProcess, before: int) -> None:
        killed = asyncio.Event()
        pressing = asyncio.create_task(load.press(server.port, killed))
        while len(load.acknowledged) < before + 20:
            await asyncio.sleep(0.01)
            assert not pressing.done()
        await asyncio.sleep(chance.uniform(0, 0.1))
        await asyncio.to_thread(server.kill)
        killed.set()
        await pressing

    for _ in range(KILLS):
        with served_by_program(tally) as server:
            asyncio.run(until_killed(server, len(load.acknowledged)))
        stored = stored_ids(tally)
        assert load.acknowledged <= set(stored) <= load.sent
        assert len(stored) == len(set(stored))
    document = run_program("tally", "status", tally, "--json").document
    assert document["total"] == SENDERS, "one machine a sender, however often it was sent again"
    assert len(load.acknowledged) >= 20 * KILLS


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_well(tally: Path, number: signal.Signals) -> None:
    station = StationFiles(tally)
    with served_by_program(tally) as server:

        async def main() -> None:
            async with await station.connect(server.port) as connection:
                talk = await Talk.begin(connection)
                (answer,) = await talk.send(station.signed(1, 1))
                assert answer["type"] == "acknowledge"
                code = await asyncio.to_thread(server.end, number)
                assert code == 0
                bye = await talk.hear()
                assert bye is not None
                assert bye["type"] == "bye"

        asyncio.run(main())
        said = server.errors
        assert said.endswith(" stopped\n")
        assert "Traceback" not in said
    assert [line["what"] for line in audit_lines(tally)] == ["started", "session", "stopped"]


@pytest.mark.parametrize("left", [None, b"", b"SQLite format 3\0" * 300])
def test_a_lost_database_is_not_served_and_its_loss_is_accepted_by_name(
    tally: Path, left: bytes | None
) -> None:
    export = _export(tally.with_name("reports"), [_line(one) for one in StationFiles(tally).signed(1, 7)])
    assert run_program("tally", "import", tally, export).code == 0
    database = tally / "tally.db"
    database.unlink()
    if left is not None:
        database.write_bytes(left)
    tries: list[list[str | Path]] = [["serve", tally, "--port", "0"], ["import", tally, export]]
    for words in tries:
        ended = run_program("tally", *words)
        assert ended.code == 1, ended.said
        assert ("damaged" if left else "7 acknowledged reports are missing") in ended.err
    assert not database.exists() if left is None else database.read_bytes() == left
    if left:
        return
    with served_by_program(tally, more=("--accept-loss", "--who", "kim")):
        assert run_program("tally", "import", tally, export).out.startswith("7 new")
    (accepted,) = [line for line in audit_lines(tally) if line["what"] == "loss-accepted"]
    assert (accepted["events"], accepted["by"]) == (7, "kim")
    with served_by_program(tally):
        assert len(stored_ids(tally)) == 7


def test_one_folder_is_served_once(tally: Path) -> None:
    with served_by_program(tally) as server:
        second = run_program("tally", "serve", tally, "--port", "0")
        assert second.code == 2
        assert "is being served already" in second.err
        third = run_program("tally", "serve", tally, "--port", str(server.port))
        assert third.code == 2


def test_a_database_that_two_folders_link_to_has_one_server(tally: Path, tmp_path: Path) -> None:
    other = new_tally(tmp_path / "other")
    (other / "tally.db").unlink()
    (other / "tally.db").symlink_to(tally / "tally.db")
    for first, second in ((tally, other), (other, tally)):
        with served_by_program(first, more=("--accept-loss", "--who", "kim")):
            refused = run_program("tally", "serve", second, "--port", "0")
            assert (refused.code, "is being served already" in refused.err) == (2, True)


def test_the_screen_says_when_nothing_serves_the_tally(tally: Path) -> None:
    sentence = f"nothing serves this tally, and no station can report; start it: unbrick tally serve {tally}"
    for served in (False, True, False):
        with served_by_program(tally) if served else nullcontext():
            shown = run_program("tally", "status", tally)
            assert (shown.code, sentence in " ".join(shown.out.split())) == (0, not served)
            document = run_program("tally", "status", tally, "--json")
            assert document.err.strip() == ("" if served else f"unbrick: {sentence}")
            assert document.document["total"] == 0


def test_a_port_in_use_is_said_in_one_line(tally: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert run_program("tally", "init", other).code == 0
    with served_by_program(tally) as server:
        second = run_program("tally", "serve", other, "--port", str(server.port))
    assert second.code == 1
    assert "cannot listen on 127.0.0.1" in second.err


@pytest.mark.parametrize("verb", ["serve", "status", "watch"])
def test_what_is_no_tally_is_said(tmp_path: Path, verb: str) -> None:
    ended = run_program("tally", verb, tmp_path)
    assert ended.code == 2
    assert "is no tally's folder" in ended.err


def test_init_refuses_a_folder_that_holds_anything(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = run_program("tally", "init", tmp_path)
    assert (ended.code, "is not empty" in ended.err) == (2, True)
    assert run_program("tally", "init", tmp_path / "new", "--address", "a:b:c").code == 2
    assert not (tmp_path / "new").exists()


def test_init_says_what_to_do_next_and_keeps_its_secrets(tmp_path: Path) -> None:
    ended = run_program("tally", "init", tmp_path / "t", "--address", "tally.example.org:4000")
    assert ended.code == 0
    for part in ("tally.example.org:4000", "unbrick tally serve", "station-cert.pub", "back up"):
        assert part in ended.out
    readable = {path.name for path in (tmp_path / "t").iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077}
    assert readable <= {"authority.pub", "host_key-cert.pub", "station-cert.pub", "unbrick.yaml"}
    assert "PRIVATE" not in ended.said


def test_a_station_is_enrolled_and_revoked_while_it_is_served(tally: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick"
    with served_by_program(tally) as server:
        enrolled = run_program("tally", "enrol", tally, "stick-7", "--site", "st-marys", "--out", stick)
        assert enrolled.code == 0, enrolled.said
        station = StationFiles(stick, "stick-7")

        async def main() -> None:
            async with await station.connect(server.port) as connection:
                talk = await Talk.begin(connection)
                (answer,) = await talk.send(station.signed(1, 1))
                assert answer["type"] == "acknowledge"
                revoked = await asyncio.to_thread(run_program, "tally", "revoke", tally, "stick-7", "--yes")
                assert revoked.code == 0
                bye = await talk.hear()  # it is sent away, whatever it does
                assert bye is not None
                assert bye["type"] == "bye"
                assert await talk.hear() is None

        asyncio.run(main())
    told = [line["what"] for line in audit_lines(tally)]
    assert [one for one in told if one not in {"refused", "session"}] == ["started", "enrolled", "revoked"]
    assert run_program("tally", "revoke", tally, "stick-7", "--yes").code == 2


def _line(event: SignedEvent) -> str:
    return json.dumps(event.to_document())


def _export(path: Path, lines: list[str]) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_an_export_is_imported_once_also_while_it_is_served(tally: Path, tmp_path: Path) -> None:
    events = StationFiles(tally).signed(1, 30)
    lines = [json.dumps(one.to_document()) for one in events]
    file = _export(tmp_path / "outbox.jsonl", lines)

    def imported() -> Ended:
        return run_program("tally", "import", tally, file)

    with served_by_program(tally):
        assert imported().out.strip() == "30 new, 0 known already, 0 refused"
        assert imported().out.strip() == "0 new, 30 known already, 0 refused"
    _export(file, [*lines, "{", json.dumps({"data": "{}", "signature": "x"})])
    ended = imported()
    assert ended.code == 1
    assert ended.out.strip() == "0 new, 30 known already, 2 refused"
    assert stored_ids(tally) == sorted(event_id(one) for one in events)
    assert run_program("tally", "import", tally, tmp_path / "missing").code == 2


def test_marks_and_the_inventory_are_taken_and_shown(tally: Path, tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.csv"
    inventory.write_text("name,site\nWARD-1,st-marys\nWARD-2,st-marys\n")
    taken = run_program("tally", "inventory", "import", tally, inventory)
    assert taken.code == 0, taken.said
    assert "2 added" in taken.out
    said = ("re-imaged", "--reason", "new disk", "--who", "kim")
    marked = run_program("tally", "mark", tally, "ward-2", *said)
    assert marked.code == 0, marked.said
    document = run_program("tally", "status", tally, "--json").document
    assert document["total"] == 2
    assert document["by_status"] == {"expected": 1, "re-imaged": 1}
    assert {(one["name"], one["status"]) for one in document["machines"]} == {
        ("WARD-1", "expected"),
        ("WARD-2", "re-imaged"),
    }
    assert run_program("tally", "mark", tally, "ward-2", "cured", "--reason", "x").code == 2
    confirmed = run_program("tally", "confirm", tally, "WARD-1")
    assert confirmed.code == 0, confirmed.said
    shown = run_program("tally", "status", tally)
    assert shown.code == 0
    assert "2 machines" in shown.out
