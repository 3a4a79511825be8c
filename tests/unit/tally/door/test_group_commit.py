from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from unbrick.tally.door.group_commit import GroupCommit, StoreBusyError


class Disk:
    """A store that takes its time and can be full."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.full = False
        self.open = threading.Event()
        self.open.set()

    def store(self, events: Sequence[int]) -> None:
        assert self.open.wait(10)
        if self.full:
            raise StoreBusyError("full")
        self.groups.append(list(events))


def _commit(disk: Disk, worker: ThreadPoolExecutor, said: list[str], most: int = 1000) -> GroupCommit[int]:
    return GroupCommit(disk.store, worker, most_waiting=most, condition=said.append)


def test_many_sessions_share_one_transaction() -> None:
    async def main(worker: ThreadPoolExecutor) -> None:
        disk = Disk()
        commit = _commit(disk, worker, [])
        disk.open.clear()
        adds = [asyncio.create_task(commit.add([number, -number])) for number in range(1, 101)]
        await asyncio.sleep(0.05)
        assert not any(task.done() for task in adds), "told before it was durable"
        disk.open.set()
        await asyncio.gather(*adds)
        assert sorted(number for group in disk.groups for number in group if number > 0) == list(
            range(1, 101)
        )
        assert len(disk.groups) <= 2

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(main(worker))


def test_nothing_is_acknowledged_on_a_full_disk_and_it_recovers() -> None:
    async def main(worker: ThreadPoolExecutor) -> None:
        disk, said = Disk(), list[str]()
        commit = _commit(disk, worker, said)
        disk.full = True
        for _ in range(3):
            with pytest.raises(StoreBusyError):
                await commit.add([1])
        disk.full = False
        await commit.add([1])
        assert said == ["full", ""], "said once, and taken back once"
        assert disk.groups == [[1]]

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(main(worker))


def test_what_waits_is_bounded_and_finish_commits_it() -> None:
    async def main(worker: ThreadPoolExecutor) -> None:
        disk = Disk()
        commit = _commit(disk, worker, [], most=10)
        disk.open.clear()
        first = asyncio.create_task(commit.add([0]))
        await asyncio.sleep(0.02)
        second = asyncio.create_task(commit.add(list(range(1, 11))))
        await asyncio.sleep(0)
        with pytest.raises(StoreBusyError, match="more events"):
            await commit.add([11])
        disk.open.set()
        await commit.finish()
        await asyncio.gather(first, second)
        assert disk.groups == [[0], list(range(1, 11))]

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(main(worker))


def test_a_session_that_left_does_not_take_others_with_it() -> None:
    async def main(worker: ThreadPoolExecutor) -> None:
        disk = Disk()
        commit = _commit(disk, worker, [])
        disk.open.clear()
        gone, stays = (asyncio.create_task(commit.add([number])) for number in (1, 2))
        await asyncio.sleep(0.02)
        gone.cancel()
        disk.open.set()
        await stays
        assert sorted(number for group in disk.groups for number in group) == [1, 2]

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(main(worker))


def test_what_nobody_foresaw_hits_only_the_part_it_lies_in() -> None:
    async def main(worker: ThreadPoolExecutor) -> None:
        disk, said = Disk(), list[str]()

        def store(events: Sequence[int]) -> None:
            disk.store(events)
            if 13 in events:
                disk.groups.pop()
                raise ZeroDivisionError

        commit = GroupCommit(store, worker, most_waiting=100, condition=said.append)
        disk.open.clear()
        adds = [asyncio.create_task(commit.add([number])) for number in (11, 12, 13, 14)]
        await asyncio.sleep(0.02)
        disk.open.set()
        results = await asyncio.gather(*adds, return_exceptions=True)
        assert [type(result) for result in results] == [type(None), type(None), StoreBusyError, type(None)]
        assert sorted(number for group in disk.groups for number in group) == [11, 12, 14]
        assert "ZeroDivisionError" in "".join(said)

    with ThreadPoolExecutor(1) as worker:
        asyncio.run(main(worker))
