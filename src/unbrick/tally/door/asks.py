"""Answers what a station asks the tally, within limits; each ask is written down by its kind.

What was asked or answered is never written down: it may be a secret. To add a kind, write a handler in a file
of its own and a line in `KINDS`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from unbrick.errors import UnbrickError
from unbrick.events.wire import Answer, Ask, WireError, payload_bytes
from unbrick.tally.door.budgets import DayBudgets
from unbrick.tally.door.limits import Limits
from unbrick.tally.trust.audit import AuditLog


@dataclass(frozen=True)
class Question:
    """What a handler gets: who asks (the name in the certificate), and what."""

    station: str
    payload: Mapping[str, Any] = field(repr=False)


Handler = Callable[[Question], Awaitable[Mapping[str, Any]]]
"""Gives the answer's payload. An UnbrickError is an answer too: its message is shown at the station and must
hold no secret. A handler may be cancelled at any await: the time is over, or the station is gone."""


async def echo(question: Question) -> Mapping[str, Any]:
    """What was asked: shows that a station reaches its tally and gets answers."""
    return question.payload


KINDS: Mapping[str, Handler] = {
    "echo": echo,
}


class AnswerDesk:
    """Answers all stations."""

    def __init__(
        self,
        kinds: Mapping[str, Handler],
        limits: Limits,
        budgets: DayBudgets,
        audit: AuditLog,
        out_of_memory: Callable[[], None],
    ) -> None:
        self.limits = limits
        self.out_of_memory = out_of_memory
        self._kinds = kinds
        self._budgets = budgets
        self._audit = audit

    async def answer(self, ask: Ask, station: str) -> Answer:
        outcome = "left"
        try:
            async with asyncio.timeout(min(ask.seconds, self.limits.ask_seconds)):
                answer = await self._answer(ask, station)
            outcome = answer.error or "answered"
        except TimeoutError:
            outcome = "timed-out"
            answer = Answer(error=outcome, text="the tally found no answer in time")
        finally:
            self._write_down(ask, station, outcome)
        return answer

    def refuse(self, ask: Ask, station: str, word: str, text: str) -> Answer:
        self._write_down(ask, station, word)
        return Answer(error=word, text=text)

    async def _answer(self, ask: Ask, station: str) -> Answer:
        beyond = self._budgets.spend_ask(station)
        if beyond is not None:
            return Answer(error="budget-spent", text=beyond)
        handler = self._kinds.get(ask.kind)
        if handler is None:
            return Answer(error="unknown-kind", text=f"this tally does not know what {ask.kind} is")
        try:
            return Answer(payload_bytes(await handler(Question(station, ask.payload))))
        except WireError as error:
            return Answer(error="failed", text=f"the answer cannot be sent: {error.message}")
        except UnbrickError as error:
            return Answer(error="failed", text=error.message)
        except MemoryError:
            raise
        except Exception as error:  # its message may hold what was asked
            kind = type(error).__name__
            self._audit.of_station("asked-fault", station, 0, {"kind": ask.kind, "error": kind})
            return Answer(error="failed", text=f"internal error of the tally ({kind})")

    def _write_down(self, ask: Ask, station: str, outcome: str) -> None:
        kind = ask.kind if ask.kind in self._kinds else "unknown"
        self._audit.of_station(f"asked-{kind}", station, 0, {"kind": ask.kind, "outcome": outcome})


Reply = Callable[[Mapping[str, Any]], Awaitable[None]]


class AsksInHand:
    """The asks of one session without an answer yet; its other messages do not wait for them.

    It knows the session only while it answers, so that an ended one is freed without the garbage collector.
    """

    def __init__(self, desk: AnswerDesk, station: str) -> None:
        self._desk = desk
        self._station = station
        self._last = 0
        self._tasks: dict[asyncio.Task[None], int] = {}

    @property
    def held(self) -> int:
        """How many bytes of asks are in memory; 0 where there are no asks."""
        return sum(self._tasks.values())

    async def begin(self, ask: Ask, reply: Reply, changed: Callable[[], None], *, in_pace: bool) -> None:
        """Answer an ask beside the conversation; raises WireError where its id is not a new one.

        `changed` is called once it is answered or dropped.
        """
        if ask.number <= self._last:
            raise WireError("an ask whose id was used before")
        self._last = ask.number
        if not in_pace:
            await self._refuse(ask, reply, "too-fast", "this station asks too often; ask again in a moment")
            return
        if len(self._tasks) >= self._desk.limits.asks_in_hand:
            await self._refuse(ask, reply, "too-many", "too many asks at once; ask again in a moment")
            return
        task = asyncio.get_running_loop().create_task(self._answer(ask, reply))
        self._tasks[task] = len(ask.body)
        task.add_done_callback(partial(self._done, changed))

    def drop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _refuse(self, ask: Ask, reply: Reply, word: str, text: str) -> None:
        await reply(self._desk.refuse(ask, self._station, word, text).to_message(ask.number))

    async def _answer(self, ask: Ask, reply: Reply) -> None:
        try:
            answer = await self._desk.answer(ask, self._station)
            await reply(answer.to_message(ask.number))
        except MemoryError:
            self._desk.out_of_memory()

    def _done(self, changed: Callable[[], None], task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        changed()
