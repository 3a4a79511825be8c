"""How long an honest visit takes while somebody attacks the tally, beside a quiet one: ratios of p50.

Each visit is a whole one: TCP, key exchange, login by certificate, two durable events, goodbye. The attackers
are processes of their own, written with the independent client; on a computer with few cores their own work
is in the figures, too. Not part of the tests: nothing here is asserted. Wanted: less than 3 ×.

    PYTHONPATH=tests .venv/bin/python tests/bench/tally_attack_speed.py [--visits N] [ATTACK...]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path

import asyncssh
from support.outside.client import OutsideStation, frame
from support.outside.events import Signer
from support.outside.tally import OutsideTally

SETTLE_SECONDS = 10.0
ERRORS = (asyncssh.Error, OSError, AssertionError, struct.error, ValueError)


def _knock(port: int, said: bytes) -> None:
    held: list[socket.socket] = []
    while True:
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", port), 10)
            one.sendall(said)
            held.append(one)
        if len(held) > 900:
            held.pop(0).close()
        time.sleep(0.01)


async def knocking(port: int, _: OutsideStation) -> None:
    """A hundred TCP connections a second that say nothing."""
    await asyncio.to_thread(_knock, port, b"")


async def knocking_with_a_version(port: int, _: OutsideStation) -> None:
    """A hundred a second that begin to speak SSH."""
    await asyncio.to_thread(_knock, port, b"SSH-2.0-stranger\r\n")


async def wrong_logins(port: int, station: OutsideStation) -> None:
    """Forty logins a second with a key that nobody certified."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    async def one() -> None:
        with contextlib.suppress(*ERRORS):
            await station.connect(port, client_keys=[key])

    tasks: set[asyncio.Task[None]] = set()
    while True:
        task = asyncio.create_task(one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        await asyncio.sleep(0.025)


async def coming_and_going(port: int, station: OutsideStation) -> None:
    """Forty who log in with one key and leave, again and again."""

    async def one() -> None:
        while True:
            with contextlib.suppress(*ERRORS):
                async with await station.connect(port):
                    pass

    await asyncio.gather(*(one() for _ in range(40)))


async def _forty(port: int, station: OutsideStation, body: Callable[[int], bytes]) -> None:
    async def one(number: int) -> None:
        while True:
            with contextlib.suppress(*ERRORS):
                async with station.conversation(port) as talk:
                    while True:
                        talk.write(body(number))
                        if await talk.hear() is None:
                            break
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one(number) for number in range(40)))


async def pouring_events(port: int, station: OutsideStation) -> None:
    """Forty sessions of one key, each with 200 events in a frame, again and again."""
    frames = [frame({"type": "send", "events": station.notes(200, number=number)}) for number in range(40)]
    await _forty(port, station, lambda number: frames[number])


async def pouring_bytes(port: int, station: OutsideStation) -> None:
    """The same with a mebibyte of JSON that is no event."""
    junk = frame({"type": "send", "events": [[]] * 330_000})
    await _forty(port, station, lambda _: junk)


async def pouring_small_frames(port: int, station: OutsideStation) -> None:
    """The same with thousands of the smallest frames."""
    many = frame({"type": "send", "events": []}) * 2000
    await _forty(port, station, lambda _: many)


async def half_frames(port: int, station: OutsideStation) -> None:
    """Twenty connections that hold a mebibyte each, and more than one channel if they get it."""
    half = struct.pack(">I", 1024 * 1024) + b"x" * (1024 * 1024 - 16)

    async def one() -> None:
        while True:
            with contextlib.suppress(*ERRORS):
                async with station.conversation(port) as talk:
                    talk.write(half)
                    await talk.hear()
            await asyncio.sleep(0.05)

    await asyncio.gather(*(one() for _ in range(20)))


ATTACKS: dict[str, Callable[[int, OutsideStation], Coroutine[None, None, None]]] = {
    one.__name__: one
    for one in (
        knocking,
        knocking_with_a_version,
        wrong_logins,
        coming_and_going,
        pouring_events,
        pouring_bytes,
        pouring_small_frames,
        half_frames,
    )
}


def visits(port: int, station: OutsideStation, count: int, first: int) -> list[float]:
    """Seconds of each visit, one after the other."""

    async def main() -> list[float]:
        took = []
        for number in range(first, first + count):
            events = station.visit(number)
            start = time.monotonic()
            await station.report(port, events)
            took.append(time.monotonic() - start)
        return took

    return asyncio.run(main())


@contextlib.contextmanager
def attacker(name: str, port: int, folder: Path) -> Iterator[None]:
    process = subprocess.Popen(
        [sys.executable, __file__, "--attack", name, "--port", str(port), "--folder", folder]
    )
    try:
        time.sleep(SETTLE_SECONDS)
        yield
    finally:
        process.kill()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=60)
    parser.add_argument("--attack")
    parser.add_argument("--port", type=int)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("attacks", nargs="*", default=list(ATTACKS))
    chosen = parser.parse_args()
    if chosen.attack:
        asyncio.run(ATTACKS[chosen.attack](chosen.port, OutsideStation(chosen.folder, "greedy")))
        return
    Signer()  # loads the library before anything is measured
    with tempfile.TemporaryDirectory() as work:
        tally = OutsideTally.new(Path(work) / "tally")
        tally.enrol("greedy", Path(work) / "greedy")
        for number, name in enumerate(chosen.attacks):
            with tally.served("--log-level", "error") as server:
                at = 10_000 * (2 * number + 1)
                quiet = statistics.median(visits(server.port, tally.station, chosen.visits, at))
                with attacker(name, server.port, Path(work) / "greedy"):
                    took = visits(server.port, tally.station, chosen.visits, at + 10_000)
            under = statistics.median(took)
            print(
                f"{name:26} quiet p50 {quiet * 1000:6.1f} ms   attacked p50 {under * 1000:6.1f} ms"
                f"   worst {max(took) * 1000:7.1f} ms   {under / quiet:5.2f} ×",
                flush=True,
            )


if __name__ == "__main__":
    main()
