"""What one report costs the tally, beside OpenSSH's sshd and beside asyncssh alone: one run, ratios, memory.

Each connection is a whole one: key exchange, login by certificate, one durable report, its answer, the end.
sshd runs a forced command that appends and syncs: a static program, as the login shell itself, so that no
shell reads any start-up file; asyncssh alone appends what it got and syncs. Not part of the tests: nothing
here is asserted. Needs root, gcc and OpenSSH's sshd; everything stays on 127.0.0.1.

asyncssh alone stands there twice: as it comes, and with the tally's own algorithms, which are cheaper: that
is the one to compare with. The three take turns, for as many rounds as are asked for, every report is of a
machine of its own, and what counts is the median of the rounds. With several at once the tally stores a few
reports in one commit, with one at a time each in its own.

    PYTHONPATH=tests .venv/bin/python tests/bench/tally_server_speed.py [--rounds N] [--connections N]
                                                                        [--sessions N]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import pwd
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncssh
from support.tally_client import StationFiles, Talk, make_event, sign
from support.tally_server import new_tally, served_by_program

from unbrick.events.wire import FrameReader, SignedEvent, encode_frame
from unbrick.model import Machine
from unbrick.tally.door.limits import Limits
from unbrick.tally.door.server import CIPHERS, KEY_EXCHANGE, MACS

AT_ONCE = 16
OURS = "unbrick tally serve"
BARE, ALIKE = "--serve-without-a-store", "--with-our-algorithms"


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def reports(station: StationFiles, number: int, count: int) -> list[SignedEvent]:
    """The first report of so many machines; each round has a number of its own."""
    key, found = station.key, []
    for one in range(count):
        machine = Machine(disk_guid=f"{number + 1:04X}{one + 1:04X}", hostnames=(f"WARD-{number}-{one}",))
        run = f"20240719T09{number:04}Z-{one:06x}"
        found.append(sign(make_event(1, run=run, machine=machine).to_bytes(), key))
    return found


def resident_kib(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


Report = Callable[[int, SignedEvent], Awaitable[None]]


def connections(
    name: str, pid: int, port: int, events: list[SignedEvent], report: Report, at_once: int = AT_ONCE
) -> float:
    """Milliseconds of the server's CPU for each connection."""

    async def main() -> None:
        gate = asyncio.Semaphore(at_once)

        async def one(event: SignedEvent) -> None:
            async with gate:
                await report(port, event)

        await asyncio.gather(*(one(event) for event in events))

    before, start = cpu_seconds(pid), time.monotonic()
    asyncio.run(main())
    wall = time.monotonic() - start
    each = (cpu_seconds(pid) - before) / len(events) * 1000
    print(f"{name:28} {each:8.2f} ms CPU each  {1000 / each:7.0f}/s a core  {len(events) / wall:7.0f}/s wall")
    return each


def by_subsystem(station: StationFiles) -> Report:
    async def report(port: int, event: SignedEvent) -> None:
        async with await station.connect(port) as connection:
            (answer,) = await (await Talk.begin(connection)).send([event])
            assert answer["type"] == "acknowledge", answer

    return report


def by_forced_command(station: StationFiles) -> Report:
    async def report(port: int, event: SignedEvent) -> None:
        async with await station.connect(port, username=pwd.getpwuid(os.getuid()).pw_name) as connection:
            done = await connection.run("report", input=event.data.decode() + event.signature)
            assert done.exit_status == 0, done.stderr

    return report


_STATIC = """
#include <fcntl.h>
#include <unistd.h>
int main(void) {
    char data[65536];
    long got;
    int to = open("REPORTS", O_WRONLY | O_CREAT | O_APPEND, 0600);
    while ((got = read(0, data, sizeof data)) > 0)
        if (write(to, data, got) != got)
            return 1;
    return fsync(to) != 0;
}
"""


def forced_program(folder: Path) -> tuple[str, ...]:
    """What to put before sshd so that the login shell is a static program that appends and syncs."""
    source, program, accounts = folder / "forced.c", folder / "forced", folder / "passwd"
    source.write_text(_STATIC.replace("REPORTS", str(folder / "reports")))
    subprocess.run(["gcc", "-static", "-O2", "-o", program, source], check=True)
    name = pwd.getpwuid(os.getuid()).pw_name
    lines = Path("/etc/passwd").read_text().splitlines()
    changed = [
        ":".join([*line.split(":")[:6], str(program)]) if line.startswith(f"{name}:") else line
        for line in lines
    ]
    accounts.write_text("\n".join(changed) + "\n")
    return ("unshare", "-m", "sh", "-c", f'mount --bind {accounts} /etc/passwd && exec "$@"', "sh")


@contextmanager
def sshd(folder: Path) -> Iterator[tuple[int, int]]:
    """OpenSSH's server with a forced command; gives its process id and port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    principals = folder / "principals"
    principals.write_text("station\n")
    settings = {
        "ListenAddress": "127.0.0.1",
        "HostKey": folder / "host_key",
        "HostCertificate": folder / "host_key-cert.pub",
        "TrustedUserCAKeys": folder / "authority.pub",
        "AuthorizedPrincipalsFile": principals,
        "ForceCommand": "report",
        "StrictModes": "no",
        "UsePAM": "no",
        "PidFile": "none",
        "MaxStartups": "100",
    }
    configuration = folder / "sshd_config"
    configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    program = shutil.which("sshd", path="/usr/sbin:/usr/bin")
    assert program is not None, "apt install openssh-server"
    command = [
        *forced_program(folder),
        str(program),
        "-D",
        "-e",
        "-q",
        "-p",
        str(port),
        "-f",
        str(configuration),
    ]
    process = subprocess.Popen(command)
    try:
        while socket.socket().connect_ex(("127.0.0.1", port)):
            time.sleep(0.05)
        yield process.pid, port
    finally:
        process.terminate()
        process.wait()


class _Answering(asyncssh.SSHServerSession[bytes]):
    """Appends every message to a file, syncs it, and answers."""

    reports = -1

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel, self._reader = chan, FrameReader()

    def subsystem_requested(self, subsystem: str) -> bool:
        return True

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        for message in self._reader.feed(data):
            hello = message["type"] == "hello"
            if not hello:
                os.write(self.reports, data)
                os.fsync(self.reports)
            answer = (
                {"type": "welcome", "protocol": 1, "time": "Z"}
                if hello
                else {"type": "acknowledge", "ids": []}
            )
            self._channel.write(encode_frame(answer))


class _BareServer(asyncssh.SSHServer):
    def session_requested(self) -> _Answering:
        return _Answering()


async def serve_without_a_store(folder: Path, alike: bool) -> None:
    """asyncssh with the same keys and the same trust: as it comes, or with the same algorithms too."""
    _Answering.reports = os.open(folder / "reports", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    trusted = folder / "trusted"
    trusted.write_text(f"cert-authority {(folder / 'authority.pub').read_text()}")
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=_BareServer,
        server_host_keys=[(str(folder / "host_key"), str(folder / "host_key-cert.pub"))],
        authorized_client_keys=str(trusted),
        encoding=None,
        **({"kex_algs": KEY_EXCHANGE, "encryption_algs": CIPHERS, "mac_algs": MACS} if alike else {}),
    )
    print(server.get_port(), flush=True)
    await asyncio.Event().wait()


@contextmanager
def bare(folder: Path, *, alike: bool) -> Iterator[tuple[int, int]]:
    command = [sys.executable, __file__, BARE, *([ALIKE] if alike else []), str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.pid, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def open_sessions(pid: int, port: int, station: StationFiles, batches: list[list[SignedEvent]]) -> None:
    async def main() -> None:
        async with await station.connect(port) as connection:
            talk = await Talk.begin(connection)
            for batch in batches:
                (answer,) = await talk.send(batch)
                assert answer["type"] == "acknowledge", answer

    count = sum(map(len, batches))
    before, start = cpu_seconds(pid), time.monotonic()
    asyncio.run(main())
    each = (cpu_seconds(pid) - before) / count * 1000
    wall = count / (time.monotonic() - start)
    name = f"events, {len(batches[0])} a frame"
    print(f"{name:28} {each:8.3f} ms CPU each  {1000 / each:7.0f}/s a core  {wall:7.0f}/s wall, one session")


def idle_sessions(pid: int, port: int, station: StationFiles, count: int) -> None:
    async def main() -> None:
        gate, held = asyncio.Semaphore(AT_ONCE), []

        async def one() -> None:
            async with gate:
                connection = await station.connect(port)
                held.append((connection, await Talk.begin(connection)))

        before = resident_kib(pid)
        await asyncio.gather(*(one() for _ in range(count)))
        each = (resident_kib(pid) - before) / count
        idle = cpu_seconds(pid)
        await asyncio.sleep(5)
        idle = (cpu_seconds(pid) - idle) / 5 * 100
        print(f"{count} sessions held: {each:.1f} KiB each, idle CPU {idle:.1f} %")
        for connection, _ in held:
            connection.abort()

    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    asyncio.run(main())


def side_by_side(
    servers: dict[str, tuple[int, int]], station: StationFiles, at_once: int, rounds: int, count: int
) -> dict[str, list[float]]:
    """What each server takes for a connection, round by round; the first one only warms them up."""
    each: dict[str, list[float]] = {name: [] for name in servers}
    for number in range(rounds + 1):
        events = reports(station, 1 + number + 100 * at_once, count)
        for name, (pid, port) in servers.items():
            each[name].append(connections(name, pid, port, events, by_subsystem(station), at_once))
        time.sleep(count / Limits().logins_per_second)  # else the tally holds the station back, one by one
    return {name: found[1:] for name, found in each.items()}


def main() -> None:
    if BARE in sys.argv:
        asyncio.run(serve_without_a_store(Path(sys.argv[-1]), ALIKE in sys.argv))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sessions", type=int, default=2000)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        folder = new_tally(Path(work) / "tally")
        station = StationFiles(folder)
        with sshd(folder) as (pid, port):
            forced = by_forced_command(station)
            events = reports(station, 0, 100)
            openssh = connections("OpenSSH, static command", pid, port, events, forced)
        with (
            bare(folder, alike=False) as as_it_comes,
            bare(folder, alike=True) as alike,
            served_by_program(folder) as server,
        ):
            ours = (server.pid, server.port)
            servers = {"asyncssh as it comes": as_it_comes, "asyncssh, our algorithms": alike, OURS: ours}
            for at_once in (AT_ONCE, 1):
                each = side_by_side(servers, station, at_once, chosen.rounds, chosen.connections)
                print(f"{at_once} at once: tally / OpenSSH: {statistics.median(each[OURS]) / openssh:.2f} ×")
                for name in list(servers)[:2]:
                    ratio = statistics.median(map(float.__truediv__, each[OURS], each[name]))
                    print(f"{at_once} at once: tally / {name}: {ratio:.2f} ×")
            for size in (1, 16, 100):
                signed = station.signed(1, 20 * size + 200, f"20240719T09{size:04}Z-0000aa")
                batches = [signed[at : at + size] for at in range(0, len(signed), size)]
                open_sessions(server.pid, server.port, station, batches)
            idle_sessions(server.pid, server.port, station, chosen.sessions)


if __name__ == "__main__":
    main()
