"""The tally's door under attack, by the independent client: an honest station always gets through."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import resource
import struct
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from support.network import Network, Weather, network
from support.outside.client import begin, frame
from support.outside.tally import OutsideTally, RunningTally
from support.tally_server import served_here

from unbrick.tally.door.asks import KINDS, Question
from unbrick.tally.door.intake import Intake
from unbrick.tally.door.limits import Limits
from unbrick.tally.door.server import TallyServer
from unbrick.tally.door.session import StationSession
from unbrick.tally.folder import TallyFolder
from unbrick.tally.store.store import Store

HALF = struct.pack(">I", 1024 * 1024) + b"x" * (1024 * 1024 - 16)


@pytest.fixture
def tally(tmp_path: Path) -> OutsideTally:
    return OutsideTally.new(tmp_path / "tally")


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) // 1024


@contextlib.contextmanager
def _knocking(inside: tuple[str, ...], host: str, port: int, said: str = "") -> Iterator[None]:
    """A stranger who connects a hundred times a second, says something or nothing, and waits."""
    words = (
        "import socket, sys, time\nheld = []\n"
        f"while True:\n    one = socket.create_connection(({host!r}, {port}), 10)\n"
        f"    one.sendall({said.encode()!r})\n    held.append(one)\n    time.sleep(0.01)\n"
        "    if len(held) > 900: held.pop(0).close()\n"
    )
    process = subprocess.Popen([*inside, sys.executable, "-c", words], stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait(30)


@pytest.mark.parametrize("said", ["", "SSH-2.0-stranger\r\n"])
def test_a_far_station_gets_in_while_a_stranger_knocks_a_hundred_times_a_second(
    tally: OutsideTally, said: str
) -> None:
    with network("tally", "station", "stranger") as net, _served_in(net, tally) as running:
        net["station"].weather = Weather(delay=0.15)
        knocking = _knocking(net["stranger"].inside, net["tally"].address, running.port, said)
        with knocking:
            _wait_for_a_crowd(running.process.pid)
            for number in range(5):
                _report_from(net, tally, running.port, number)
    assert tally.status()["by_status"] == {"repaired": 5}
    assert any("not logged in" in one["why"] for one in tally.refusals())


@contextlib.contextmanager
def _served_in(net: Network, tally: OutsideTally) -> Iterator[RunningTally]:
    with tally.served("--host", net["tally"].address, inside=net["tally"].inside) as running:
        yield running


def _wait_for_a_crowd(pid: int) -> None:
    """Until the places before the login are nearly all taken."""
    for _ in range(600):
        if len(list(Path(f"/proc/{pid}/fd").iterdir())) > 400:
            return
        time.sleep(0.1)
    raise AssertionError("the stranger did not get that far")


def _report_from(net: Network, tally: OutsideTally, port: int, number: int) -> None:
    words = (
        "import asyncio; from pathlib import Path; from support.outside.client import OutsideStation\n"
        f"station = OutsideStation(Path({str(tally.folder)!r}))\n"
        f"asyncio.run(station.report({port}, station.visit({number}), {net['tally'].address!r}))"
    )
    done = subprocess.run(
        [*net["station"].inside, sys.executable, "-c", words],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_two_hundred_honest_clients_that_try_again_at_once_all_get_in(tally: OutsideTally) -> None:
    """Far more than there are places; nobody waits before the next try."""
    station = tally.station

    async def client(port: int, number: int) -> int:
        for attempt in range(2000):
            with contextlib.suppress(asyncssh.Error, OSError):
                await station.report(port, station.visit(number))
                return attempt
        raise AssertionError(f"client {number} never got in")

    async def main() -> None:
        async with served_here(tally.folder, Limits(logins_at_once=32)) as port:
            await asyncio.gather(*(client(port, number) for number in range(200)))

    asyncio.run(main())
    assert tally.status()["by_status"] == {"repaired": 200}


def test_what_is_sent_before_a_login_is_little(tally: OutsideTally) -> None:
    ignored = struct.pack(">IB", 12, 6) + b"\x02" + b"\0\0\0\0" + b"\0" * 6

    async def main(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"SSH-2.0-flood\r\n")
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                writer.write(ignored * 1000)
                await writer.drain()
            await reader.read()
        writer.close()
        await tally.station.report(port, tally.station.visit(1))

    with tally.served() as running:
        asyncio.run(main(running.port))
    assert any("before a login" in one["why"] or "SSH" in one["why"] for one in tally.refusals())


def test_a_second_channel_is_refused_and_the_first_goes_on(tally: OutsideTally) -> None:
    async def main(port: int) -> None:
        async with await tally.station.connect(port) as connection:
            first = await begin(connection)
            await first.greet()
            for _ in range(3):
                with pytest.raises(asyncssh.ChannelOpenError):
                    await begin(connection)
            await first.deliver(tally.station.visit(1))

    with tally.served() as running:
        asyncio.run(main(running.port))
    assert [one["why"] for one in tally.refusals()] == ["too many channels in one connection"] * 3


def test_half_frames_of_one_station_take_little_memory_and_no_others_turn(tally: OutsideTally) -> None:
    """Twenty connections, sixteen channels asked for, a frame of 1 MiB but for its end in each."""
    greedy = tally.enrol("greedy", tally.folder.parent / "greedy")

    async def channel(connection: asyncssh.SSHClientConnection) -> None:
        with contextlib.suppress(asyncssh.Error, OSError):
            talk = await begin(connection)
            await talk.greet()
            talk.write(HALF)
            await talk.process.stdin.drain()

    async def main(running: RunningTally) -> None:
        before = _resident(running.process.pid)
        held = [await greedy.connect(running.port) for _ in range(20)]
        await asyncio.gather(*(channel(one) for one in held for _ in range(16)))
        for number in range(5):
            await tally.station.report(running.port, tally.station.visit(number))
        assert _resident(running.process.pid) - before < 150
        for one in held:
            one.abort()

    with tally.served() as running:
        asyncio.run(main(running))
        assert running.process.poll() is None


def test_where_frames_fill_the_memory_the_greediest_station_gives_up_its_own(tally: OutsideTally) -> None:
    greedy = tally.enrol("greedy", tally.folder.parent / "greedy")
    limits = Limits(frames_bytes=3 * 1024 * 1024)

    async def main() -> None:
        async with served_here(tally.folder, limits) as port, tally.station.conversation(port) as honest:
            whole = frame({"type": "send", "events": tally.station.visit(1)})
            honest.write(whole[:1000])
            async with contextlib.AsyncExitStack() as stack:
                talks = [await stack.enter_async_context(greedy.conversation(port)) for _ in range(8)]
                for talk in talks:
                    talk.write(HALF)
                ends = [asyncio.create_task(talk.hear()) for talk in talks]
                async with asyncio.timeout(60):
                    while sum(end.done() for end in ends) < 5:
                        await asyncio.sleep(0.05)
                said = [end.result() for end in ends if end.done()]
                assert {one["type"] for one in said if one} == {"bye"}
                for end in ends:
                    end.cancel()
            honest.write(whole[1000:])
            answer = await honest.hear()
            assert answer is not None
            assert answer["type"] == "acknowledge"

    asyncio.run(main())
    assert {one["who"] for one in tally.refusals()} == {"greedy"}


def test_sessions_and_connections_lie_in_no_circle(
    tally: OutsideTally, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended is gone at once, without the collector of cycles."""
    alive: weakref.WeakSet[StationSession] = weakref.WeakSet()
    born = StationSession.__init__

    def watched(self: StationSession, *arguments: object) -> None:
        born(self, *arguments)  # type: ignore[arg-type]
        alive.add(self)

    monkeypatch.setattr(StationSession, "__init__", watched)

    async def abandoned(port: int) -> None:
        connection = await tally.station.connect(port)
        talk = await begin(connection)
        await talk.greet()
        talk.write(HALF[:100_000])
        await talk.process.stdin.drain()
        connection.abort()
        await connection.wait_closed()

    async def asked(port: int) -> None:
        async with tally.station.asking(port) as talk:
            await talk.ask(1, "echo")
            talk.put(2, "never", seconds=300)
            await talk.ask(3, "echo")

    async def never(_: Question) -> Mapping[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError

    async def main() -> None:
        async with served_here(tally.folder, kinds={**KINDS, "never": never}) as port:
            await tally.station.report(port, tally.station.visit(1))
            gc.collect()
            gc.disable()
            try:
                for number in range(5):
                    await abandoned(port)
                    await asked(port)
                    await tally.station.report(port, tally.station.visit(number))
                async with asyncio.timeout(30):
                    while alive:
                        await asyncio.sleep(0.02)
            finally:
                gc.enable()

    asyncio.run(main())


def test_forty_sessions_of_one_key_share_one_pace(tally: OutsideTally) -> None:
    """Ten events a second for the station, whatever its sessions: the other one waits for none of them."""
    greedy = tally.enrol("greedy", tally.folder.parent / "greedy")
    limits = Limits(events_per_second=10, events_burst=40, pace_seconds=1.0)
    took: list[str] = []

    async def pour(port: int, number: int) -> None:
        events = greedy.notes(8, number=number)
        async with greedy.conversation(port) as talk:
            for _ in range(2):
                (answer,) = await talk.send(events)
                took.append(answer["type"])

    async def main() -> None:
        async with served_here(tally.folder, limits) as port:
            pouring = [asyncio.create_task(pour(port, number)) for number in range(1, 41)]
            for number in range(100, 105):
                await tally.station.report(port, tally.station.visit(number))
            await asyncio.gather(*pouring)

    asyncio.run(main())
    assert took.count("busy") > 40, "and are told to come again"
    assert took.count("acknowledge") >= 4
    assert tally.status()["by_status"]["repaired"] == 5


def test_logins_of_one_key_have_a_pace_too(tally: OutsideTally) -> None:
    greedy = tally.enrol("greedy", tally.folder.parent / "greedy")
    limits = Limits(logins_per_second=0.01, logins_burst=5, pace_seconds=1.0)

    async def login(port: int) -> bool:
        with contextlib.suppress(asyncssh.Error, OSError):
            async with await greedy.connect(port):
                return True
        return False

    async def main() -> None:
        async with served_here(tally.folder, limits) as port:
            let_in = await asyncio.gather(*(login(port) for _ in range(40)))
            assert let_in.count(True) == 5
            await tally.station.report(port, tally.station.visit(1))

    asyncio.run(main())
    assert {one["why"] for one in tally.refusals()} == {"too many logins of one station at once"}


def test_a_revoked_station_that_says_nothing_is_sent_away(tally: OutsideTally) -> None:
    lost = tally.enrol("lost", tally.folder.parent / "lost")

    async def main(port: int) -> None:
        async with lost.conversation(port) as idle, await lost.connect(port) as mute:
            await idle.deliver(lost.visit(1))
            await asyncio.to_thread(tally.revoke, "lost")
            async with asyncio.timeout(30):
                while (answer := await idle.hear()) is not None:
                    assert "no longer let in" in answer["text"]
                await mute.wait_closed()
        with pytest.raises((asyncssh.Error, OSError)):
            await lost.connect(port)
        await tally.station.report(port, tally.station.visit(2))

    with tally.served() as running:
        asyncio.run(main(running.port))
    whys = [one["why"] for one in tally.refusals() if one["who"] == "lost"]
    assert whys == ["a revoked certificate"] * 3


def _files(count: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))


def test_with_sixty_four_descriptors_a_crowd_keeps_nobody_out(tally: OutsideTally) -> None:
    async def main(port: int) -> None:
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(200)]
        for number in range(10):
            await tally.station.report(port, tally.station.visit(number))
        for _, writer in crowd:
            writer.close()

    with tally.served(before=lambda: _files(64)) as running:
        asyncio.run(main(running.port))
        assert "unexpected" not in running.log
    assert tally.status()["by_status"] == {"repaired": 10}


@pytest.mark.parametrize("machines", [1, 5])
def test_a_kill_and_a_lost_file_of_the_day_give_no_second_day(tally: OutsideTally, machines: int) -> None:
    """Also of what waited in an outbox and comes as one frame of several machines."""
    today = tally.folder / "today.json"
    events = [one for number in range(machines) for one in tally.station.visit(number)]
    with tally.served() as running:
        asyncio.run(tally.station.report(running.port, events))
    today.unlink(missing_ok=True)
    for _ in range(2):
        with tally.served() as running:
            assert running.end() == 0
        assert json.loads(today.read_text())["stations"][tally.station.name]["bytes"] > 0
        assert (tally.folder / "audit.log").read_text().count("budgets-recounted") == 1


def test_too_few_descriptors_are_refused_in_a_sentence(tally: OutsideTally) -> None:
    words = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    done = tally.run("serve", "--port", "0", code=1, inside=(sys.executable, "-c", words))
    assert "only 40 files" in done.stderr
    assert "ulimit -n" in done.stderr


def test_a_server_without_memory_ends_and_says_so(tally: OutsideTally) -> None:
    """Its manager starts it again; alive without memory it would keep the lock and serve nobody."""
    station = tally.station
    wide = [station.notes(100, number=number, size=8000) for number in range(1, 5)]

    async def pour(port: int, number: int) -> None:
        for _ in range(50):
            with contextlib.suppress(asyncssh.Error, OSError, AssertionError, struct.error, ValueError):
                async with station.conversation(port) as talk:
                    await talk.send(wide[number % 4])
            await asyncio.sleep(0)

    async def main(running: RunningTally) -> None:
        ended = asyncio.create_task(asyncio.to_thread(running.awaited))
        pouring = [asyncio.create_task(pour(running.port, number)) for number in range(16)]
        await asyncio.wait([ended], timeout=100)
        for one in pouring:
            one.cancel()
        await asyncio.gather(*pouring, return_exceptions=True)

    with tally.served() as running:
        asyncio.run(station.report(running.port, station.visit(1)))
        size = int(Path(f"/proc/{running.process.pid}/statm").read_text().split()[0]) * resource.getpagesize()
        resource.prlimit(running.process.pid, resource.RLIMIT_AS, (size + 1024 * 1024,) * 2)
        asyncio.run(main(running))
        assert running.process.poll() == 1, running.log
        assert "no memory" in running.log
        assert "Traceback" not in running.log
    with tally.served() as again:
        asyncio.run(station.report(again.port, station.visit(2)))
    assert tally.status()["by_status"] == {"repaired": 2}


@pytest.mark.parametrize("where", ["commit", "session"])
def test_memory_that_ends_in_the_middle_is_noticed_wherever_that_is(
    tally: OutsideTally, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    def nothing_left(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(*{"commit": (Store, "add"), "session": (Intake, "judge")}[where], nothing_left)

    async def main() -> None:
        server = TallyServer(TallyFolder(tally.folder))
        address = await server.start("127.0.0.1", 0)
        try:
            async with tally.station.conversation(address.port) as talk:
                answers = await talk.send(tally.station.visit(1))
                assert not [one for one in answers if one["type"] == "acknowledge"]
                async with asyncio.timeout(30):
                    await server.out_of_memory.wait()
        finally:
            await server.stop()

    asyncio.run(main())
