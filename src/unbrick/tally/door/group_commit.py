"""Group commit: the events of many sessions in one transaction, acknowledged once they are durable.

While a transaction is synced the next one gathers: the disk's pace sets the size of a group, not the number
of sessions. One worker thread does the writing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from unbrick.errors import FailedError

One = TypeVar("One")
_MOST_IN_A_GROUP = 2000


class StoreBusyError(FailedError):
    """Nothing was stored: the disk is full, the database is locked, or too much is waiting. Try later."""


@dataclass(frozen=True)
class _Part(Generic[One]):
    events: Sequence[One]
    stored: asyncio.Future[None]


class GroupCommit(Generic[One]):
    """`store` is called in `worker` with the events of many `add`s; it stores all of them durably, or none.

    Where `store` raises StoreBusyError, every `add` of the group does. `condition` gets the reason when
    storing begins to fail, and an empty text once it works again.
    """

    def __init__(
        self,
        store: Callable[[Sequence[One]], None],
        worker: ThreadPoolExecutor,
        *,
        most_waiting: int,
        condition: Callable[[str], None],
    ) -> None:
        self._store = store
        self._worker = worker
        self._most_waiting = most_waiting
        self._condition = condition
        self._waiting: deque[_Part[One]] = deque()
        self._events_waiting = 0
        self._error = ""
        self._task: asyncio.Task[None] | None = None

    async def add(self, events: Sequence[One]) -> None:
        """Return when these events are durable; raises StoreBusyError when none of them is."""
        if not events:
            return
        if self._events_waiting + len(events) > self._most_waiting:
            raise StoreBusyError("more events arrive than can be stored at once")
        part = _Part(events, asyncio.get_running_loop().create_future())
        self._waiting.append(part)
        self._events_waiting += len(events)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())
        await part.stored

    async def finish(self) -> None:
        while self._task is not None and not self._task.done():
            await self._task

    async def _work(self) -> None:
        while self._waiting:
            group = self._next_group()
            failed = await self._try(group)
            if failed is not None and not isinstance(failed, StoreBusyError) and len(group) > 1:
                for part in group:  # an unexpected error may come from one part: store the others
                    self._answer([part], await self._try([part]))
            else:
                self._answer(group, failed)

    async def _try(self, group: Sequence[_Part[One]]) -> BaseException | None:
        """Store a group; gives the error instead of raising it: every `add` must get an answer."""
        events = [event for part in group for event in part.events]
        work = asyncio.get_running_loop().run_in_executor(self._worker, self._store, events)
        await asyncio.wait([work])
        failed = work.exception()
        self._say("" if failed is None else _text(failed))
        return failed

    def _next_group(self) -> list[_Part[One]]:
        group = [self._waiting.popleft()]
        size = len(group[0].events)
        while self._waiting and size + len(self._waiting[0].events) <= _MOST_IN_A_GROUP:
            group.append(self._waiting.popleft())
            size += len(group[-1].events)
        self._events_waiting -= size
        return group

    def _answer(self, group: Sequence[_Part[One]], failed: BaseException | None) -> None:
        for part in group:
            if part.stored.done():  # its session is gone; the events may be stored all the same
                continue
            if failed is None:
                part.stored.set_result(None)
            else:
                part.stored.set_exception(StoreBusyError(_text(failed)))

    def _say(self, error: str) -> None:
        if error != self._error:
            self._error = error
            self._condition(error)


def _text(failed: BaseException) -> str:
    if isinstance(failed, StoreBusyError):
        return failed.message
    return f"the tally cannot store what it received ({type(failed).__name__})"
