"""The sending loop, with a clock, an outbox and a tally that are only pretended."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import pytest
from support.signed_events import unsigned_event

from unbrick.events.wire import MOST_FRAME_BYTES, Answer, Ask, SignedEvent, encode_frame
from unbrick.report.asking import Asks
from unbrick.report.outbox import OutboxError
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.sending_loop import LONGEST_PAUSE, SendingLoop
from unbrick.report.session import Receipt, Refusal, TallyRefusedError, TallyUnreachableError


class Outbox:
    def __init__(self, events: Sequence[SignedEvent] = ()) -> None:
        self.events = {event.id: event for event in events}
        self.aside: dict[str, str] = {}
        self.broken = 0
        self.unreadable = 0
        self.full = False

    def pending(self) -> Iterator[tuple[Path, SignedEvent]]:
        if self.broken:
            self.broken -= 1
            raise OutboxError("the outbox cannot be read")
        yield from [(Path(key), event) for key, event in self.events.items()]

    def acknowledge(self, ids: Collection[str]) -> None:
        for one in ids:
            self.events.pop(one, None)

    def set_aside(self, ids: Collection[str], reason: str) -> None:
        if self.full:
            raise OutboxError("no space is left for reports")
        for one in ids:
            self.events.pop(one, None)
            self.aside[one] = reason

    def count(self) -> int:
        return len(self.events) + self.unreadable


class Session:
    """A tally that answers an ask with its own payload, unless told to do otherwise."""

    notice = ""

    def __init__(self, answer: Callable[[Sequence[SignedEvent]], Receipt], protocol: int = 2) -> None:
        self._answer = answer
        self.is_open = True
        self.protocol = protocol
        self.asked: list[Ask] = []
        self.put = 0
        self.say: Callable[[list[Ask]], list[tuple[int, Answer]]] = echo
        self._read, self._write = socket.socketpair()

    def ask(self, ask: Ask) -> None:
        self.asked.append(ask)
        self.put += 1

    def answers(self) -> list[tuple[int, Answer]]:
        said = self.say(self.asked)
        self.asked = [one for one in self.asked if one.number not in {number for number, _ in said}]
        return said

    def fileno(self) -> int:
        return self._read.fileno()

    def send(self, events: Sequence[SignedEvent]) -> Receipt:
        return self._answer(events)

    def close(self) -> None:
        self.is_open = False
        self._read.close()
        self._write.close()


def echo(asked: list[Ask]) -> list[tuple[int, Answer]]:
    return [(one.number, Answer(one.body)) for one in asked]


def take_all(events: Sequence[SignedEvent]) -> Receipt:
    return Receipt(tuple(event.id for event in events))


class World:
    """Everything around one loop. Time passes only while it sleeps; it is told to finish at `finish_at`."""

    def __init__(self, events: int = 0, *, finish_at: float = 60.0, patience: float = 10.0) -> None:
        self.outbox = Outbox([unsigned_event(number + 1) for number in range(events)])
        self.now = 1000.0
        self.finish_at = 1000.0 + finish_at
        self.patience = patience
        self.shown: list[SenderStatus] = []
        self.sent: list[int] = []
        self.attempts: list[float] = []
        self.sessions: list[Session] = []
        self.answer: Callable[[Sequence[SignedEvent]], Receipt] = take_all
        self.refuse: Callable[[], None] = lambda: None
        self.chance = 1.0
        self.on_wait: Callable[[], None] = lambda: None
        self.protocol = 2
        self.say: Callable[[list[Ask]], list[tuple[int, Answer]]] = echo
        self.asks: Asks | None = None
        self.replies: list[socket.socket] = []

    @property
    def finish_by(self) -> float | None:
        return None if self.now < self.finish_at else self.finish_at + self.patience

    def wait(self, seconds: float) -> None:
        assert 0 <= seconds <= LONGEST_PAUSE
        # As the real one: an order to finish ends the sleep early.
        self.now = self.finish_at if self.now < self.finish_at < self.now + seconds else self.now + seconds
        self.on_wait()

    def connect(self) -> Session:
        self.attempts.append(self.now - 1000.0)
        self.refuse()
        self.sessions.append(Session(self._take, self.protocol))
        self.sessions[-1].say = self.say
        return self.sessions[-1]

    def _take(self, events: Sequence[SignedEvent]) -> Receipt:
        self.sent.append(len(events))
        return self.answer(events)

    def run(self) -> World:
        SendingLoop(
            self.outbox,
            self.connect,
            self,
            self.shown.append,
            self.asks or Asks(),
            clock=lambda: self.now,
            chance=lambda: self.chance,
        ).run()
        return self

    def listen(self) -> None:
        """Let processes ask."""
        self.askers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.asks = Asks(theirs, clock=lambda: self.now)

    def ask(self, seconds: float = 60.0) -> None:
        """As `asking.Requester` does, without waiting."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        asked = {"kind": "echo", "deadline": self.now + seconds, "payload": {"number": len(self.replies)}}
        socket.send_fds(self.askers, [json.dumps(asked).encode()], [theirs.fileno()])
        theirs.close()
        ours.setblocking(False)
        self.replies.append(ours)

    def said(self) -> list[bytes | None]:
        """What each asker has been told, once: None for nothing yet."""
        found: list[bytes | None] = []
        for reply in self.replies:
            try:
                found.append(reply.recv(100))
            except BlockingIOError:
                found.append(None)
        return found

    def close(self) -> None:
        for end in (self.askers, *self.replies):
            end.close()
        self.now += 1000  # nobody waits that long
        assert self.asks is not None
        assert not self.asks.wait_for_a_session()

    def states(self) -> list[SenderState]:
        """The states shown, repetitions left out."""
        states = [status.state for status in self.shown]
        return [state for index, state in enumerate(states) if index == 0 or states[index - 1] != state]


def fail_with(error: Exception) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


NOBODY = fail_with(TallyUnreachableError("nobody answers"))


def test_one_session_a_run_takes_everything_in_full_frames() -> None:
    world = World(600)
    later = iter(range(601, 604))
    world.on_wait = lambda: add(world.outbox, next(later, None))
    world.run()
    assert world.sent == [256, 256, 88, 1, 1, 1]
    assert (world.outbox.count(), len(world.sessions), world.sessions[0].is_open) == (0, 1, False)
    assert world.states() == [SenderState.CONNECTING, SenderState.CONNECTED, SenderState.ENDED]
    assert world.shown[-1].acknowledged == 603


def add(outbox: Outbox, number: int | None) -> None:
    if number is not None:
        event = unsigned_event(number)
        outbox.events[event.id] = event


def test_a_frame_is_never_larger_than_the_tally_takes() -> None:
    world = World()
    for number in range(1, 200):
        event = unsigned_event(number, text='"\\' * 2000)
        world.outbox.events[event.id] = event
    frames: list[int] = []

    def measure(events: Sequence[SignedEvent]) -> Receipt:
        frames.append(
            len(encode_frame({"type": "send", "events": [event.to_document() for event in events]}))
        )
        return take_all(events)

    world.answer = measure
    world.run()
    assert world.outbox.count() == 0
    assert 1 < len(frames) < 8
    assert MOST_FRAME_BYTES * 0.9 < max(frames) <= MOST_FRAME_BYTES + 4


def test_only_what_is_acknowledged_is_let_go_of() -> None:
    world = World(4, finish_at=0)
    known = list(world.outbox.events)
    world.answer = lambda events: Receipt(
        (known[0],), (Refusal((known[1],), "bad-signature", "not ours"),), "its disk is full"
    )
    world.run()
    assert list(world.outbox.events) == known[2:]
    assert world.outbox.aside == {known[1]: "bad-signature: not ours"}


def test_pauses_double_up_to_the_longest_and_are_spread() -> None:
    world = World(1, finish_at=200)
    world.refuse = NOBODY
    world.run()
    pauses = [round(b - a, 3) for a, b in zip(world.attempts, world.attempts[1:], strict=False)]
    assert pauses[:8] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    assert max(pauses) == LONGEST_PAUSE
    world = World(1, finish_at=20)
    world.refuse = NOBODY
    world.chance = 0.0
    world.run()
    assert [round(moment, 3) for moment in world.attempts[:4]] == [0, 0.25, 0.75, 1.75]
    assert world.states()[:2] == [SenderState.CONNECTING, SenderState.UNREACHABLE]
    assert world.shown[-2].why == "nobody answers"


@pytest.mark.parametrize("error", [TallyRefusedError("not our tally"), TallyUnreachableError("nobody")])
def test_a_tally_that_is_not_ours_is_never_tried_again(error: Exception) -> None:
    world = World(1, finish_at=600)
    world.refuse = fail_with(error)
    world.run()
    if isinstance(error, TallyRefusedError):
        assert world.attempts == [0]
        assert world.shown[-1] == SenderStatus(SenderState.REFUSED, "not our tally")
    else:
        assert len(world.attempts) > 10
    assert world.outbox.count() == 1


def test_a_session_that_breaks_is_opened_again_and_everything_is_sent_again() -> None:
    world = World(3)
    broken = iter([True, True])

    def break_twice(events: Sequence[SignedEvent]) -> Receipt:
        if next(broken, False):
            raise TallyUnreachableError("the line broke")
        return take_all(events)

    world.answer = break_twice
    world.run()
    assert (world.sent, len(world.sessions)) == ([3, 3, 3], 3)
    assert not any(session.is_open for session in world.sessions)
    assert world.shown[-1].acknowledged == 3


def test_a_session_that_died_while_nothing_was_sent_is_noticed() -> None:
    world = World(finish_at=5)
    world.on_wait = lambda: hang_up_once(world)
    world.run()
    assert SenderState.UNREACHABLE in world.states()
    assert len(world.sessions) == 2


def hang_up_once(world: World) -> None:
    if len(world.sessions) == 1:
        world.sessions[0].is_open = False


def test_a_busy_tally_is_asked_again_in_the_same_session_with_pauses() -> None:
    world = World(2)
    busy = iter([True] * 4)
    world.answer = lambda events: Receipt((), (), "full") if next(busy, False) else take_all(events)
    world.run()
    assert (world.sent, len(world.sessions)) == ([2] * 5, 1)
    assert world.now < 1000 + 61
    assert SenderState.BUSY in world.states()
    assert world.shown[-1].acknowledged == 2


def test_finishing_tries_once_more_at_once_and_ends_with_the_patience() -> None:
    world = World(1, finish_at=100, patience=5)
    world.refuse = NOBODY
    world.run()
    assert [moment for moment in world.attempts if moment >= 100] == [100, 100.5, 101.5, 103.5]
    assert world.now == 1105
    world = World(0, finish_at=0.1)
    world.refuse = NOBODY
    world.run()
    assert world.now <= 1001  # nothing waits: there is nothing to be patient for


def test_an_outbox_that_cannot_be_read_for_a_while_is_read_later() -> None:
    world = World(2)
    world.outbox.broken = 3
    world.run()
    assert (world.sent, world.outbox.count()) == ([2], 0)
    assert "the outbox cannot be read" in {status.why for status in world.shown}


def test_what_cannot_be_read_is_not_waited_for() -> None:
    world = World(1, finish_at=1, patience=600)
    world.outbox.unreadable = 1
    world.run()
    assert (world.sent, world.shown[-1].acknowledged) == ([1], 1)
    assert world.now < 1010


def test_a_refused_report_that_cannot_be_put_away_is_sent_again_with_pauses() -> None:
    world = World(1, finish_at=5, patience=1)
    world.outbox.full = True
    world.answer = lambda events: Receipt((), (Refusal((events[0].id,), "unsigned", "no"),))
    world.run()
    assert 1 < len(world.sent) < 10
    assert (world.shown[-2].why, world.shown[-1].refused) == ("no space is left for reports", 0)


@pytest.fixture
def asked() -> Iterator[World]:
    world = World()
    world.listen()
    yield world
    world.close()


def test_an_ask_opens_the_session_soon_however_long_the_pause_of_the_sending_is(asked: World) -> None:
    asked.finish_at = 1000.0 + 200
    asked.refuse = NOBODY
    asked.on_wait = lambda: asked.ask() if asked.now > 1100 and not asked.replies else None
    asked.run()
    before = [moment for moment in asked.attempts if moment < 100]
    while_asked = [moment for moment in asked.attempts if 125 <= moment < 155]
    after = [moment for moment in asked.attempts if 185 <= moment < 200]
    assert len(before) < 10
    assert len(while_asked) == 10
    assert len(after) <= 1  # nobody waits any longer
    assert asked.said() == [b""]


def test_asks_go_between_two_frames_of_a_large_outbox(asked: World) -> None:
    asked.outbox = Outbox([unsigned_event(number + 1) for number in range(1000)])
    put: list[int] = []

    def take(events: Sequence[SignedEvent]) -> Receipt:
        put.append(asked.sessions[0].put)
        asked.ask()
        return take_all(events)

    asked.answer = take
    asked.run()
    assert put == [0, 1, 2, 3]
    assert asked.said() == [b'+{"number":%d}' % number for number in range(4)]
    assert asked.shown[-1].acknowledged == 1000


def test_a_tally_too_busy_to_store_is_asked_all_the_same(asked: World) -> None:
    asked.outbox = Outbox([unsigned_event(1)])
    asked.answer = lambda _: Receipt((), (), "its disk is full")
    sent: list[int] = []

    def wait() -> None:
        sent.append(len(asked.sent))
        if len(sent) == 8:
            asked.ask()
            asked.now -= 1  # that ends the sleep early
        elif len(sent) == 9:
            assert asked.said() == [b'+{"number":0}']
            assert sent[-1] == sent[-2], "it did not wait for the next try to send"

    asked.on_wait = wait
    asked.run()
    assert len(sent) > 9
    assert len(asked.sessions) == 1


def test_an_outbox_that_cannot_be_read_does_not_keep_anybody_from_asking(asked: World) -> None:
    asked.outbox.broken = 5
    asked.ask()
    asked.run()
    assert asked.said() == [b'+{"number":0}']
    assert len(asked.sessions) == 1
    assert SenderState.UNREACHABLE in asked.states()
    assert asked.states()[-2:] == [SenderState.CONNECTED, SenderState.ENDED]


def test_where_the_tally_answers_nothing_reports_go_on(asked: World) -> None:
    asked.protocol = 1
    asked.outbox = Outbox([unsigned_event(number + 1) for number in range(300)])
    asked.ask()
    asked.run()
    assert asked.said() == [b"<"]
    assert (asked.sent, len(asked.sessions)) == ([256, 44], 1)


def test_an_ask_in_a_session_that_breaks_is_answered_in_the_next(asked: World) -> None:
    asked.outbox = Outbox([unsigned_event(1)])
    broken = iter([True])
    numbers: list[int] = []

    def take(events: Sequence[SignedEvent]) -> Receipt:
        if next(broken, False):
            raise TallyUnreachableError("the line broke")
        return take_all(events)

    def say(asks: list[Ask]) -> list[tuple[int, Answer]]:
        numbers.extend(one.number for one in asks)
        return echo(asks) if len(asked.sessions) == 2 else []

    asked.answer = take
    asked.say = say
    asked.ask()
    asked.run()
    assert asked.said() == [b'+{"number":0}']
    assert sorted(set(numbers)) == [1, 2]
    assert (asked.outbox.count(), len(asked.sessions)) == (0, 2)
