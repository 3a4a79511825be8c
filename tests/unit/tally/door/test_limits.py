from __future__ import annotations

import asyncio
import resource
import subprocess
import sys

import pytest

from unbrick.errors import FailedError
from unbrick.tally.door.limits import FramesInMemory, Limits, Pace, Sessions, Turn, fitted_to_files


def test_sessions_are_counted_by_station_and_together() -> None:
    sessions = Sessions(3, 2)
    assert [sessions.enter(name) for name in ("a", "a")] == [None, None]
    assert "one station" in (sessions.enter("a") or "")
    assert sessions.enter("b") is None
    assert "too many sessions at once" in (sessions.enter("c") or "")
    sessions.leave("a")
    assert sessions.enter("c") is None


def test_the_pace_lets_a_burst_pass_and_then_slows_down() -> None:
    now = [0.0]
    pace = Pace(10, 50, clock=lambda: now[0])
    assert pace.take(50) == 0
    assert pace.take(20) == 2.0
    now[0] = 100.0
    assert pace.take(50) == 0
    assert pace.take(1) == 0.1


def test_what_is_given_back_can_be_taken_again() -> None:
    pace = Pace(10, 50, clock=lambda: 0.0)
    assert pace.take(70) == 2.0
    pace.give_back(70)
    assert pace.take(50) == 0


@pytest.mark.parametrize("allowed", [64, 128, 1024, 4096])
def test_the_connections_fit_what_may_be_open(allowed: int) -> None:
    """In a child: a hard limit that was lowered cannot be raised again."""
    words = (
        "import resource; from unbrick.tally.door.limits import *; "
        f"resource.setrlimit(resource.RLIMIT_NOFILE, ({allowed}, {allowed})); f = fitted_to_files(Limits()); "
        "print(f.logins_at_once, f.accepts_at_once, f.sessions)"
    )
    said = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True).stdout
    logins, accepts, sessions = map(int, said.split())
    assert min(logins, accepts, sessions) >= 8
    assert logins + accepts + sessions + 28 <= allowed


def test_two_thousand_sessions_fit_where_the_hard_limit_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        fits = fitted_to_files(Limits(sessions=2000))
        assert fits.sessions == 2000 or before[1] < 2800
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > fits.sessions + fits.logins_at_once
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_so_few_files_that_nobody_could_be_served_are_refused_in_a_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (40, 40))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    with pytest.raises(FailedError, match="only 40 files") as caught:
        fitted_to_files(Limits())
    assert "ulimit -n" in (caught.value.hint or "")


def test_the_greediest_station_gives_up_its_largest_frame() -> None:
    frames = FramesInMemory(100)
    assert frames.hold("good", "a", 40) is None
    assert frames.hold("greedy", "b", 20) is None
    assert frames.hold("greedy", "c", 30) is None
    assert frames.hold("good", "d", 20) == "a"
    frames.hold("good", "a", 0)
    assert frames.held == 70
    assert frames.hold("greedy", "b", 60) == "b"
    for station, session in (("greedy", "b"), ("greedy", "c"), ("good", "d")):
        frames.hold(station, session, 0)
    assert frames.held == 0


def test_one_stations_batches_take_turns_and_none_is_forgotten() -> None:
    async def main() -> None:
        turn, at_work, most = Turn(10), 0, 0

        async def batch(size: int) -> None:
            nonlocal at_work, most
            async with turn.of(size):
                at_work += size
                most = max(most, at_work)
                await asyncio.sleep(0)
                at_work -= size

        tasks = [asyncio.create_task(batch(size)) for size in (4, 4, 4, 10, 1, 500, 2)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.gather(*tasks[:2], *tasks[3:5], tasks[6])
        await asyncio.gather(*tasks, return_exceptions=True)
        assert most in (8, 9, 10, 500)
        async with turn.of(10):
            pass

    asyncio.run(main())
