"""How fast the tally's store takes events, and what its answers cost with 10,000 and with a million machines.

Not part of the tests: timings are measured here, never asserted there. Needs the disk that is to be
measured (`--folder`); a bare append with fsync on it stands beside, as the floor.

    .venv/bin/python tests/bench/tally_store_speed.py [--folder DIR] [--machines N] [--seconds S] [--keep DIR]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.tally_events import START, Told, disk, uuid

from unbrick.model import Machine
from unbrick.tally.books.lost_reports import MarkedFile
from unbrick.tally.folder import parse_address
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.show.board import read_board
from unbrick.tally.store.store import Store
from unbrick.tally.trust.authority import create_authority

STATUSES = ("repaired", "repaired", "repaired", "needs-key", "needs-hands", "healthy", "failed")
REASONS = {"needs-key": "key-missing", "needs-hands": "hibernated", "failed": "timed-out"}


class Stories:
    """Endless events: run after run of three, each of a machine of its own."""

    def __init__(self, first: int = 0) -> None:
        self._next = first
        self._left: list[ReceivedEvent] = []

    def take(self, size: int) -> list[ReceivedEvent]:
        """The next events."""
        while len(self._left) < size:
            self._left += story(self._next)
            self._next += 1
        batch, self._left = self._left[:size], self._left[size:]
        return batch


def story(number: int) -> list[ReceivedEvent]:
    """The run of one machine; every second one was seen by its firmware."""
    status = STATUSES[number % len(STATUSES)]
    machine = Machine(uuid(number) if number % 2 else None, None, disk(number), (f"PC-{number:06}",))
    told = Told(number, machine, site=f"site-{number % 40}", minute=number / 500)
    return told.story(status, REASONS.get(status))


def appends_a_second(folder: Path, seconds: float) -> float:
    """How many times a second this disk appends 700 bytes durably: the floor below a batch of one."""
    path = folder / "append"
    count = 0
    with path.open("ab") as stream:
        begin = time.perf_counter()
        while time.perf_counter() - begin < seconds:
            stream.write(b"x" * 700)
            stream.flush()
            os.fsync(stream.fileno())
            count += 1
        spent = time.perf_counter() - begin
    path.unlink()
    return count / spent


def events_a_second(folder: Path, size: int, seconds: float) -> tuple[float, float]:
    """Events a second in batches of a size, by the wall clock and by the processor's."""
    with tempfile.TemporaryDirectory(dir=folder) as inner, Store.open(Path(inner) / "tally.db") as store:
        stories = Stories()
        batches = [stories.take(size) for _ in range(max(1, 20_000 // size) if size > 1 else 4000)]
        done = 0
        begin, busy = time.perf_counter(), time.process_time()
        for batch in batches:
            store.add(batch)
            done += len(batch)
            if time.perf_counter() - begin > seconds:
                break
        return done / (time.perf_counter() - begin), done / (time.process_time() - busy)


def cost_after(folder: Path, runs: int) -> float:
    """What one more run costs of a machine that has so many, in milliseconds of the processor's time."""
    machine = Machine(uuid(1), "SN-1", disk(1), ("PC-1",))
    stories = (Told(n, machine, minute=n / 500).story("repaired") for n in range(1, runs + 51))
    with tempfile.TemporaryDirectory(dir=folder) as inner, Store.open(Path(inner) / "tally.db") as store:
        for start in range(0, runs, 500):
            batch = [next(stories) for _ in range(min(500, runs - start))]
            store.add([one for story in batch for one in story])
        begin = time.process_time()
        for story in stories:
            store.add(story)
        return (time.process_time() - begin) / 50 * 1000


@contextmanager
def without_mark() -> Iterator[None]:
    """As if what is acknowledged were written down in the database only."""
    cover = MarkedFile.cover
    MarkedFile.cover = lambda *_: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        MarkedFile.cover = cover  # type: ignore[method-assign]


def milliseconds(work: Callable[[], object], rounds: int = 50, part: float = 0.5) -> float:
    """The time of one call that a part of them does not exceed: the median, unless said otherwise."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return sorted(times)[min(int(part * rounds), rounds - 1)] * 1000


def fill(tally: Path, machines: int) -> None:
    """A new tally with so many machines, half of them only expected; kept where it is filled already."""
    if (tally / "filled").exists():
        return
    create_authority(tally, parse_address("127.0.0.1"))
    with Store.open(tally / "tally.db") as store:
        listed = tally / "inventory.csv"
        lines = (f"PC-{number:06},SN-{number},site-{number % 40}\n" for number in range(machines))
        listed.write_text("name,serial,site\n" + "".join(lines))
        begin = time.perf_counter()
        store.import_inventory(listed)
        store.new_machines_a_day = machines  # all of them come from one station
        print(f"  inventory of {machines:,}: {time.perf_counter() - begin:.1f} s", flush=True)
        begin = time.perf_counter()
        stories = Stories()
        for _ in range(-(-machines * 3 // 2 // 3000)):
            store.add(stories.take(min(3000, machines * 3 // 2)))
        spent = time.perf_counter() - begin
        print(f"  {store.summary().events:,} events in batches of 3000: {spent:.1f} s", flush=True)
    (tally / "filled").touch()


def answers(tally: Path, machines: int) -> dict[str, float]:
    """What the screens' questions cost inside a program that runs, in milliseconds."""
    with Store.open(tally / "tally.db") as store:
        now = START + timedelta(minutes=machines / 1000)
        code = next(row.code for row in store.machines(status="needs-key", limit=1))
        assert code
        return {
            "board, median": milliseconds(lambda: read_board(store, now)),
            "board, 95 of 100": milliseconds(lambda: read_board(store, now), rounds=100, part=0.95),
            "summary()": milliseconds(lambda: store.summary(now)),
            "machines(limit=100)": milliseconds(lambda: store.machines(limit=100)),
            "machines(status=needs-key, limit=20)": milliseconds(
                lambda: store.machines(status="needs-key", limit=20)
            ),
            "find(name)": milliseconds(lambda: store.find("pc-000007")),
            "find(serial)": milliseconds(lambda: store.find("sn-7")),
            "find(code)": milliseconds(lambda: store.find(code)),
            "recent(20)": milliseconds(lambda: store.recent(20)),
            "add of 3 events": milliseconds(add_one(store), rounds=100),
        }


@dataclass(frozen=True)
class Run:
    """What one command took, in seconds by the clock and of processor time, and the most memory, in MB."""

    wall: float
    busy: float
    memory: float


def command(tally: Path, *options: str, rounds: int = 5) -> Run:
    """`unbrick tally status` with some options: the median of several runs, and the most memory of any."""
    runs = []
    for _ in range(rounds):
        begin = time.perf_counter()
        argv = [sys.executable, "-m", "unbrick", "tally", "status", str(tally), *options]
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        wall = time.perf_counter() - begin
        runs.append(Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000))
    middle = sorted(runs, key=lambda run: run.busy)[rounds // 2]
    return Run(statistics.median(run.wall for run in runs), middle.busy, max(run.memory for run in runs))


def commands(tally: Path) -> dict[str, Run]:
    """What a person's commands cost, from start to end."""
    with Store.open(tally / "tally.db") as store:
        code = next(row.code for row in store.machines(status="needs-key", limit=1))
        assert code
    return {
        "status": command(tally),
        "status --find NAME": command(tally, "--find", "pc-000007"),
        "status --find SERIAL": command(tally, "--find", "SN-7"),
        "status --find CODE": command(tally, "--find", code),
        "status --json": command(tally, "--json", rounds=3),
    }


def add_one(store: Store) -> Callable[[], object]:
    """Adds one more new run at each call."""
    stories = Stories(first=1_000_000)
    return lambda: store.add(stories.take(3))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--few", type=int, default=10_000)
    parser.add_argument("--machines", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--keep", type=Path, help="fill the tallies here, or take those that are here")
    given = parser.parse_args()
    print(f"bare append and fsync: {appends_a_second(given.folder, 3):,.0f} a second")
    for size in (1, 32, 256):
        wall, busy = events_a_second(given.folder, size, given.seconds)
        print(f"add in batches of {size:>3}: {wall:>8,.0f} events/s ({busy:,.0f} a second of processor time)")
        with without_mark():
            bare, _ = events_a_second(given.folder, size, given.seconds)
        print(
            f"  {wall / bare:.2f} of what it is where nothing is written outside the database ({bare:,.0f})"
        )
    print(f"{'milliseconds of processor for a run of one machine':<52} {'100 runs':>9} {'40,000':>9}  ratio")
    few, many = (cost_after(given.folder, runs) for runs in (100, 40_000))
    print(f"{'  whose firmware has one UUID':<52} {few:>9.2f} {many:>9.2f}  {many / few:.2f}")
    with tempfile.TemporaryDirectory(dir=given.folder) as inner:
        place = given.keep or Path(inner)
        tallies = [place / f"tally-{number}" for number in (given.few, given.machines)]
        for tally, number in zip(tallies, (given.few, given.machines), strict=True):
            fill(tally, number)
        print_ratios(tallies, (given.few, given.machines))


def print_ratios(tallies: Sequence[Path], numbers: tuple[int, int]) -> None:
    """The answers and the commands at both sizes, and the second in parts of the first."""
    heads = [f"{number:,}" for number in numbers]
    few, many = (commands(tally) for tally in tallies)
    print(f"{'seconds of a command: clock, processor':<40} {heads[0]:>14} {heads[1]:>14}  ratio")
    for what, one in few.items():
        other = many[what]
        cells = [f"{run.wall:.2f} {run.busy:.2f}" for run in (one, other)]
        print(f"{what:<40} {cells[0]:>14} {cells[1]:>14}  {other.busy / one.busy:.2f}")
        if what == "status --json":
            each = [run.busy / number * 1e6 for run, number in zip((one, other), numbers, strict=True)]
            print_ratio("  microseconds a machine", *each)
        print_ratio("  most memory, MB", one.memory, other.memory)
    quick, slow = (answers(tally, number) for tally, number in zip(tallies, numbers, strict=True))
    print(f"{'milliseconds of an answer':<40} {heads[0]:>14} {heads[1]:>14}  ratio")
    for what, cost in quick.items():
        print_ratio(what, cost, slow[what])


def print_ratio(what: str, few: float, many: float) -> None:
    """A line of the table."""
    print(f"{what:<40} {few:>14.2f} {many:>14.2f}  {many / few:.2f}")


if __name__ == "__main__":
    main()
