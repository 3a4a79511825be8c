"""What the sender's process does all its life: connect, send what waits, delete it here, try again later.

Between two frames of events it puts to the tally what our processes ask (`asking.py`).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from unbrick.errors import UnbrickError
from unbrick.events.wire import MOST_EVENTS_IN_A_FRAME, MOST_FRAME_BYTES, SignedEvent
from unbrick.report.asking import AskedSession, Asks
from unbrick.report.outbox import OutboxError
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.session import Receipt, TallyUnreachableError

POLL_SECONDS = 0.15
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_PAUSE_WHERE_ASKED = 3.0  # somebody waits at a machine
# The end of a session that lasted this long is no sign of growing trouble.
_GOOD_SESSION_SECONDS = 30.0
_FRAME_HEAD_BYTES = 1024


class Waiting(Protocol):
    """What the loop needs of an outbox; each raises OutboxError."""

    def pending(self) -> Iterator[tuple[Path, SignedEvent]]: ...
    def acknowledge(self, ids: Collection[str]) -> None: ...
    def set_aside(self, ids: Collection[str], reason: str) -> None: ...
    def count(self) -> int: ...


class Session(AskedSession, Protocol):
    """What the loop needs of a `session.TallySession`."""

    @property
    def is_open(self) -> bool: ...
    @property
    def notice(self) -> str: ...
    def send(self, events: Sequence[SignedEvent]) -> Receipt: ...
    def close(self) -> None: ...


class Orders(Protocol):
    """When to have ended (`time.monotonic()`, None while the run goes on), and a sleep that an order ends."""

    @property
    def finish_by(self) -> float | None: ...
    def wait(self, seconds: float) -> None: ...


@dataclass
class SendingLoop:
    """One session a run, opened again with growing pauses where it breaks.

    `show` is given each new status; `chance` gives a number from 0 to 1 that no other station has.
    """

    outbox: Waiting
    connect: Callable[[], Session]
    orders: Orders
    show: Callable[[SenderStatus], None]
    asks: Asks = field(default_factory=Asks)
    clock: Callable[[], float] = time.monotonic
    chance: Callable[[], float] = lambda: int.from_bytes(os.urandom(4), "big") / 2**32
    _session: Session | None = None
    _opened: float = 0.0
    _not_before: float = 0.0
    _not_before_where_asked: float = 0.0
    _failures: int = 0
    _finishing: bool = False
    _nothing_to_send: bool = False
    _acknowledged: int = 0
    _refused: int = 0
    _notice: str = ""
    _state: SenderState = SenderState.CONNECTING

    def run(self) -> None:
        """Send until told to finish and nothing waits, or the time is up, or it makes no sense to go on."""
        self._tell(SenderState.CONNECTING)
        try:
            while not self._is_done():
                try:
                    self._round()
                except TallyUnreachableError as error:
                    if self._session is not None and self.clock() - self._opened >= _GOOD_SESSION_SECONDS:
                        self._failures = 0
                    self._hang_up()
                    self._put_off(SenderState.UNREACHABLE, error.message)
                except OutboxError as error:
                    self._put_off(SenderState.UNREACHABLE, error.message)
                except UnbrickError as error:
                    self._tell(SenderState.REFUSED, error.message)
                    return
                self.orders.wait(self._pause())
            self._tell(SenderState.ENDED)
        finally:
            self._hang_up()
            self.asks.close()

    def _is_done(self) -> bool:
        deadline = self.orders.finish_by
        if deadline is None:
            return False
        if not self._finishing:
            self._finishing = True
            # Once more at once, and soon again, however the last attempts ended.
            self._not_before = self._not_before_where_asked = 0.0
            self._failures = 0
            self._nothing_to_send = False
        # What cannot be read now is counted as waiting, and could be waited for without end.
        if self.clock() >= deadline or self._nothing_to_send:
            return True
        try:
            return self.outbox.count() == 0
        except OutboxError:
            return False

    def _round(self) -> None:
        if self._session is not None:  # no pause of the sending holds up who asks
            self.asks.serve(self._session)
        if self.clock() < self._next_try():
            return
        session = self._open_session()
        self._nothing_to_send = False
        while not self._nothing_to_send:
            self._nothing_to_send = True
            # One look at the outbox, which may be large, for many frames.
            for batch in in_frames(event for _, event in self.outbox.pending()):
                self._nothing_to_send = False
                if not self._send(session, batch):
                    return
        if self._state is SenderState.UNREACHABLE:  # it was the outbox, which can be read again
            self._tell(SenderState.CONNECTED)

    def _send(self, session: Session, batch: Sequence[SignedEvent]) -> bool:
        """Send one frame and take the answer; whether to go on at once."""
        answer = session.send(batch)
        self.asks.serve(session)
        # Counted when they are gone from here: what stays is sent again, and answered again.
        if answer.acknowledged:
            self.outbox.acknowledge(answer.acknowledged)
            self._acknowledged += len(answer.acknowledged)
        for refusal in answer.refused:
            self.outbox.set_aside(refusal.ids, f"{refusal.reason}: {refusal.text}".strip(": "))
            self._refused += len(refusal.ids)
        if answer.busy is not None:
            self._put_off(SenderState.BUSY, answer.busy)
            return False
        self._failures = 0
        self._tell(SenderState.CONNECTED)
        deadline = self.orders.finish_by
        return deadline is None or self.clock() < deadline

    def _open_session(self) -> Session:
        if self._session is not None:
            if self._session.is_open:
                return self._session
            raise TallyUnreachableError("the tally hung up")
        session = self.connect()
        self._session, self._notice = session, session.notice
        self._opened = self.clock()
        self._tell(SenderState.CONNECTED)
        self.asks.serve(session)
        return session

    def _put_off(self, state: SenderState, why: str) -> None:
        """Try again after a pause that doubles, and that no two stations of a fleet share."""
        now, spread = self.clock(), 0.5 + 0.5 * self.chance()
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LONGEST_PAUSE)
        self._not_before = now + pause * spread
        self._not_before_where_asked = now + min(pause, LONGEST_PAUSE_WHERE_ASKED) * spread
        self._failures += 1
        self._tell(state, why)

    def _pause(self) -> float:
        now = self.clock()
        pause = max(POLL_SECONDS, self._next_try() - now)
        deadline = self.orders.finish_by
        return pause if deadline is None else max(0.0, min(pause, deadline - now))

    def _next_try(self) -> float:
        return self._not_before_where_asked if self.asks.wait_for_a_session() else self._not_before

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        self.asks.session_ended()
        if session is not None:
            session.close()

    def _tell(self, state: SenderState, why: str = "") -> None:
        self._state = state
        self.show(SenderStatus(state, why, self._acknowledged, self._refused, self._notice))


def in_frames(events: Iterable[SignedEvent]) -> Iterator[list[SignedEvent]]:
    """Events in their order, as many at a time as one frame to the tally may hold."""
    batch: list[SignedEvent] = []
    size = _FRAME_HEAD_BYTES
    for event in events:
        length = len(json.dumps(event.to_document(), ensure_ascii=False).encode()) + 1
        if batch and (size + length > MOST_FRAME_BYTES or len(batch) == MOST_EVENTS_IN_A_FRAME):
            yield batch
            batch, size = [], _FRAME_HEAD_BYTES
        batch.append(event)
        size += length
    if batch:
        yield batch
