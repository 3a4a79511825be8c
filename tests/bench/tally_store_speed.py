"""How fast the tally's store takes events, and what its answers cost with 200 and with 200,000 machines.

Not part of the tests: timings are measured here, never asserted there. Needs the disk that is to be
measured (`--folder`); a bare append with fsync on it stands beside, as the floor.

    .venv/bin/python tests/bench/tally_store_speed.py [--folder DIR] [--machines N] [--seconds S]
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.tally_events import START, Told, disk, uuid

from unbrick.model import Machine
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store import Store

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


def milliseconds(work: Callable[[], object], rounds: int = 50) -> float:
    """The median time of one call."""
    work()
    times = []
    for _ in range(rounds):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


@contextmanager
def filled(folder: Path, machines: int) -> Iterator[Store]:
    """A tally with so many machines, half of them only expected."""
    with tempfile.TemporaryDirectory(dir=folder) as inner, Store.open(Path(inner) / "tally.db") as store:
        listed = Path(inner) / "inventory.csv"
        lines = (f"PC-{number:06},SN-{number},site-{number % 40}\n" for number in range(machines))
        listed.write_text("name,serial,site\n" + "".join(lines))
        begin = time.perf_counter()
        store.import_inventory(listed)
        print(f"  inventory of {machines:,}: {time.perf_counter() - begin:.1f} s", flush=True)
        begin = time.perf_counter()
        stories = Stories()
        for _ in range(-(-machines * 3 // 2 // 3000)):
            store.add(stories.take(min(3000, machines * 3 // 2)))
        spent = time.perf_counter() - begin
        print(f"  {store.summary().events:,} events in batches of 3000: {spent:.1f} s", flush=True)
        yield store


def answers(folder: Path, machines: int) -> dict[str, float]:
    """What the screens' questions cost, in milliseconds."""
    with filled(folder, machines) as store:
        now = START + timedelta(minutes=machines / 1000)
        return {
            "summary()": milliseconds(lambda: store.summary(now)),
            "machines(limit=100)": milliseconds(lambda: store.machines(limit=100)),
            "machines(status=needs-key, limit=20)": milliseconds(
                lambda: store.machines(status="needs-key", limit=20)
            ),
            "machines(name=...)": milliseconds(lambda: store.machines(name="pc-000007")),
            "recent(20)": milliseconds(lambda: store.recent(20)),
            "add of 3 events": milliseconds(add_one(store), rounds=100),
        }


def add_one(store: Store) -> Callable[[], object]:
    """Adds one more new run at each call."""
    stories = Stories(first=1_000_000)
    return lambda: store.add(stories.take(3))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path())
    parser.add_argument("--machines", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=10)
    given = parser.parse_args()
    print(f"bare append and fsync: {appends_a_second(given.folder, 3):,.0f} a second")
    for size in (1, 32, 256):
        wall, busy = events_a_second(given.folder, size, given.seconds)
        print(f"add in batches of {size:>3}: {wall:>8,.0f} events/s ({busy:,.0f} a second of processor time)")
    few, many = answers(given.folder, 200), answers(given.folder, given.machines)
    print(f"{'milliseconds':<38} {200:>10,} {given.machines:>10,}  ratio")
    for what, cost in few.items():
        print(f"{what:<38} {cost:>10.2f} {many[what]:>10.2f}  {many[what] / cost:.2f}")


if __name__ == "__main__":
    main()
