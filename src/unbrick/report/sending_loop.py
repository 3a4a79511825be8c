"""What the sender's process does all its life: connect, send what waits, let go of it, try again later.

It also puts to the tally what our processes ask (`asking.py`), between two frames of events.
Knows no processes and no signals (`sender.py` does) and no SSH (`session.py` does).
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
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
LONGEST_PAUSE_WHERE_ASKED = 3.0  # somebody stands at a machine
# A session that stood this long was a good one: its end is not a sign of trouble that grows.
_GOOD_SESSION_SECONDS = 30.0
_FRAME_HEAD_BYTES = 1024


class Waiting(Protocol):
    """What the loop needs of an outbox."""

    def pending(self) -> Iterator[tuple[Path, SignedEvent]]:
        """What waits, in order."""

    def acknowledge(self, ids: Collection[str]) -> None:
        """Let go of what is durable at the tally."""

    def set_aside(self, ids: Collection[str], reason: str) -> None:
        """Put away what the tally will never take; raises OutboxError where that cannot be done."""

    def count(self) -> int:
        """How many wait."""


class Session(AskedSession, Protocol):
    """What the loop needs of a `session.TallySession`."""

    @property
    def is_open(self) -> bool:
        """Whether it still stands."""

    @property
    def notice(self) -> str:
        """What a person should know of the station's certificate."""

    def send(self, events: Sequence[SignedEvent]) -> Receipt:
        """Send some and wait for the answers; raises TallyUnreachableError."""

    def close(self) -> None:
        """Hang up."""


class Orders(Protocol):
    """What the loop is told from outside."""

    @property
    def finish_by(self) -> float | None:
        """When to have ended (`time.monotonic()`); None while the run goes on."""

    def wait(self, seconds: float) -> None:
        """Sleep that long, or until told something new."""


class SendingLoop:
    """One session a run, opened again with growing pauses where it breaks."""

    def __init__(
        self,
        outbox: Waiting,
        connect: Callable[[], Session],
        orders: Orders,
        show: Callable[[SenderStatus], None],
        asks: Asks | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] | None = None,
    ) -> None:
        self._outbox = outbox
        self._connect = connect
        self._orders = orders
        self._show = show
        self._asks = asks or Asks()
        self._clock = clock
        self._chance = chance or _chance
        self._session: Session | None = None
        self._opened = 0.0
        self._not_before = 0.0
        self._not_before_where_asked = 0.0
        self._failures = 0
        self._finishing = False
        self._nothing_to_send = False
        self._acknowledged = 0
        self._refused = 0
        self._notice = ""
        self._state = SenderState.CONNECTING

    def run(self) -> None:
        """Send until told to finish and nothing waits, or the time is up, or it makes no sense to go on."""
        self._tell(SenderState.CONNECTING)
        try:
            while not self._is_done():
                try:
                    self._round()
                except TallyUnreachableError as error:
                    if self._session is not None and self._clock() - self._opened >= _GOOD_SESSION_SECONDS:
                        self._failures = 0
                    self._hang_up()
                    self._put_off(SenderState.UNREACHABLE, error.message)
                except OutboxError as error:
                    self._put_off(SenderState.UNREACHABLE, error.message)
                except UnbrickError as error:
                    self._tell(SenderState.REFUSED, error.message)
                    return
                self._orders.wait(self._pause())
            self._tell(SenderState.ENDED)
        finally:
            self._hang_up()
            self._asks.close()

    def _is_done(self) -> bool:
        deadline = self._orders.finish_by
        if deadline is None:
            return False
        if not self._finishing:
            self._finishing = True
            # Once more at once, and soon again, whatever the last attempts came to.
            self._not_before = self._not_before_where_asked = 0.0
            self._failures = 0
            self._nothing_to_send = False
        # What cannot be read now is counted as waiting, and could be waited for without end.
        if self._clock() >= deadline or self._nothing_to_send:
            return True
        try:
            return self._outbox.count() == 0
        except OutboxError:
            return False

    def _round(self) -> None:
        if self._session is not None:  # no pause of the sending holds up who asks
            self._asks.serve(self._session)
        if self._clock() < self._next_try():
            return
        session = self._open_session()
        self._nothing_to_send = False
        while not self._nothing_to_send:
            self._nothing_to_send = True
            # One look at the outbox, which may be large, for many frames.
            for batch in in_frames(event for _, event in self._outbox.pending()):
                self._nothing_to_send = False
                if not self._send(session, batch):
                    return
        if self._state is SenderState.UNREACHABLE:  # it was the outbox, which can be read again
            self._tell(SenderState.CONNECTED)

    def _send(self, session: Session, batch: Sequence[SignedEvent]) -> bool:
        """Send one frame and heed the answer; whether to go on at once."""
        answer = session.send(batch)
        self._asks.serve(session)
        # Counted when they are gone from here: what stays is sent again, and answered again.
        if answer.acknowledged:
            self._outbox.acknowledge(answer.acknowledged)
            self._acknowledged += len(answer.acknowledged)
        for refusal in answer.refused:
            self._outbox.set_aside(refusal.ids, f"{refusal.reason}: {refusal.text}".strip(": "))
            self._refused += len(refusal.ids)
        if answer.busy is not None:
            self._put_off(SenderState.BUSY, answer.busy)
            return False
        self._failures = 0
        self._tell(SenderState.CONNECTED)
        deadline = self._orders.finish_by
        return deadline is None or self._clock() < deadline

    def _open_session(self) -> Session:
        if self._session is not None:
            if self._session.is_open:
                return self._session
            raise TallyUnreachableError("the tally hung up")
        session = self._connect()
        self._session, self._notice = session, session.notice
        self._opened = self._clock()
        self._tell(SenderState.CONNECTED)
        self._asks.serve(session)
        return session

    def _put_off(self, state: SenderState, why: str) -> None:
        """Try again after a pause that doubles, and that no two stations of a fleet share."""
        now, spread = self._clock(), 0.5 + 0.5 * self._chance()
        pause = min(FIRST_PAUSE * 2.0 ** min(self._failures, 16), LONGEST_PAUSE)
        self._not_before = now + pause * spread
        self._not_before_where_asked = now + min(pause, LONGEST_PAUSE_WHERE_ASKED) * spread
        self._failures += 1
        self._tell(state, why)

    def _pause(self) -> float:
        now = self._clock()
        pause = max(POLL_SECONDS, self._next_try() - now)
        deadline = self._orders.finish_by
        return pause if deadline is None else max(0.0, min(pause, deadline - now))

    def _next_try(self) -> float:
        return self._not_before_where_asked if self._asks.wait_for_a_session() else self._not_before

    def _hang_up(self) -> None:
        session, self._session = self._session, None
        self._asks.session_ended()
        if session is not None:
            session.close()

    def _tell(self, state: SenderState, why: str = "") -> None:
        self._state = state
        self._show(SenderStatus(state, why, self._acknowledged, self._refused, self._notice))


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


def _chance() -> float:
    """A number from 0 to 1 that no other station has."""
    return int.from_bytes(os.urandom(4), "big") / 2**32
