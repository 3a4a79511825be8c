"""Asking through the sender's process: each asker its own answer, in its time, or one clear error."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from unbrick.errors import Reason
from unbrick.events.wire import MOST_ASKS_AT_ONCE, MOST_PAYLOAD_BYTES, Answer, Ask, WireError
from unbrick.report.asking import AskRefusedError, Asks, CannotAskError, NoAnswerError, Requester
from unbrick.report.sender_status import SenderState, SenderStatus
from unbrick.report.session import TallyUnreachableError

LONG = 60.0  # far more than any of these takes: where it counts, waiting that long would fail the test


class Session:
    """A tally that says what `say` makes of the asks that it has."""

    def __init__(self, protocol: int = 2) -> None:
        self.protocol = protocol
        self.asked: list[Ask] = []
        self.say: Callable[[list[Ask]], list[tuple[int, Answer]]] = lambda _: []
        self.broken = False

    def ask(self, ask: Ask) -> None:
        if self.broken:
            raise TallyUnreachableError("the line broke")
        self.asked.append(ask)

    def answers(self) -> list[tuple[int, Answer]]:
        if self.broken:
            raise TallyUnreachableError("the line broke")
        return self.say(self.asked)

    def fileno(self) -> int:
        return -1


def echo(asked: list[Ask]) -> list[tuple[int, Answer]]:
    return [(one.number, Answer(one.body)) for one in asked]


class Scene:
    """The sender's end here, the askers in threads."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setblocking(False)
        self.askers_end = ours
        self.sender_end = theirs
        self.status = SenderStatus(SenderState.CONNECTED)
        self.requester = Requester(ours, lambda: self.status)
        self.now = 0.0
        self.asks = Asks(theirs)
        self.pool = ThreadPoolExecutor(80)

    def ask(self, payload: dict[str, Any], seconds: float = LONG, kind: str = "echo") -> Future[Answer]:
        return self.pool.submit(self.requester.ask, kind, payload, seconds)

    def heard(self) -> None:
        """Wait until somebody asks."""
        assert select.select([self.sender_end], [], [], LONG)[0]

    def serve_until(self, session: Session, done: Callable[[], bool]) -> None:
        while not done():
            select.select([self.sender_end], [], [], 0.01)
            self.asks.serve(session)

    def put(self, session: Session, count: int) -> None:
        """Serve until the tally has so many asks."""
        self.serve_until(session, lambda: len(session.asked) == count)


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    try:
        yield scene
    finally:
        scene.asks.close()
        scene.sender_end.close()
        scene.askers_end.close()
        scene.pool.shutdown()


def test_each_of_many_askers_gets_its_own_answer(scene: Scene) -> None:
    session = Session()
    most = 0

    def backwards(asked: list[Ask]) -> list[tuple[int, Answer]]:
        nonlocal most
        most = max(most, len(asked))
        said = echo(asked[::-1])
        asked.clear()
        return said

    session.say = backwards
    waiting = [scene.ask({"number": number}) for number in range(40)]
    scene.serve_until(session, lambda: all(one.done() for one in waiting))
    assert [one.result().payload for one in waiting] == [{"number": number} for number in range(40)]
    assert most <= MOST_ASKS_AT_ONCE


def test_an_asker_waits_no_longer_than_it_said_whatever_the_sender_does(scene: Scene) -> None:
    with pytest.raises(NoAnswerError, match=r"did not answer within 0\.05 s$") as caught:
        scene.requester.ask("echo", {}, 0.05)
    assert caught.value.reason == Reason.TIMED_OUT
    scene.status = SenderStatus(SenderState.UNREACHABLE, "nobody answers")
    with pytest.raises(NoAnswerError, match=r"within 0\.05 s: nobody answers$"):
        scene.requester.ask("echo", {}, 0.05)


def test_a_sender_that_takes_nothing_in_holds_up_nobody(scene: Scene) -> None:
    """Its socket is full by then."""
    with suppress(BlockingIOError):
        while True:
            scene.askers_end.send(b"x" * 1000)
    with pytest.raises(NoAnswerError) as caught:
        scene.requester.ask("echo", {}, 0.05)
    assert caught.value.reason == Reason.TIMED_OUT


def test_what_nobody_waits_for_any_longer_is_not_put_and_its_answer_is_dropped(scene: Scene) -> None:
    session = Session()
    late = scene.ask({"who": "late"}, 0.3)
    scene.put(session, 1)
    with pytest.raises(NoAnswerError):
        late.result()
    never = scene.ask({"who": "never put"}, 0.05)
    with pytest.raises(NoAnswerError):
        never.result()
    session.say = echo
    after = scene.ask({"who": "in time"})
    scene.serve_until(session, after.done)
    assert after.result().payload == {"who": "in time"}
    assert [one.payload["who"] for one in session.asked] == ["late", "in time"]


def test_asks_whose_time_is_over_leave_their_place_to_others(scene: Scene) -> None:
    session = Session()
    late = [scene.ask({"who": "late"}, 0.5) for _ in range(MOST_ASKS_AT_ONCE)]
    scene.put(session, MOST_ASKS_AT_ONCE)
    session.say = lambda asked: echo([one for one in asked if one.payload["who"] == "next"])
    after = scene.ask({"who": "next"})
    scene.serve_until(session, after.done)
    assert after.result().payload == {"who": "next"}
    for one in late:
        with pytest.raises(NoAnswerError):
            one.result()


def test_the_senders_end_is_seen_at_once(scene: Scene) -> None:
    asked = scene.ask({})
    scene.put(Session(), 1)
    waits = scene.ask({})
    scene.heard()
    for one in scene.asks._put.values():
        one.reply.close()  # as the end of a process does
    scene.sender_end.close()
    for future in (asked, waits, scene.ask({})):
        with pytest.raises(NoAnswerError, match="the process that talks to it has ended"):
            future.result(LONG)
    scene.status = SenderStatus(SenderState.REFUSED, "the tally does not let us in")
    with pytest.raises(NoAnswerError, match="the tally cannot be asked: the tally does not let us in"):
        scene.ask({}).result(LONG)


def test_a_tally_of_protocol_1_is_one_clear_error(scene: Scene) -> None:
    asked = scene.ask({})
    session = Session(protocol=1)
    scene.serve_until(session, asked.done)
    with pytest.raises(CannotAskError, match="takes reports only"):
        asked.result()
    assert session.asked == []


def test_what_the_tally_refuses_says_why(scene: Scene) -> None:
    session = Session()
    session.say = lambda asked: [(one.number, Answer(error="unknown-kind", text="what?")) for one in asked]
    asked = scene.ask({})
    scene.serve_until(session, asked.done)
    with pytest.raises(AskRefusedError, match="refused to answer: what") as caught:
        asked.result()
    assert caught.value.word == "unknown-kind"


def test_an_ask_whose_session_broke_is_put_again_under_another_number(scene: Scene) -> None:
    first, second = Session(), Session()
    asked = [scene.ask({"number": number}) for number in range(3)]
    scene.put(first, 3)
    first.broken = True
    with pytest.raises(TallyUnreachableError):
        scene.asks.serve(first)
    assert not scene.asks.wait_for_a_session()
    scene.asks.session_ended()
    assert scene.asks.wait_for_a_session()
    second.say = echo
    scene.serve_until(second, lambda: all(one.done() for one in asked))
    assert [one.result().payload for one in asked] == [{"number": number} for number in range(3)]
    assert [one.body for one in second.asked] == [one.body for one in first.asked]
    assert {one.number for one in second.asked}.isdisjoint(one.number for one in first.asked)


def test_an_ask_that_breaks_every_session_is_given_up_so_that_reports_go_on(scene: Scene) -> None:
    asked = scene.ask({})
    scene.heard()
    put = []
    for _ in range(10):
        session = Session()
        scene.asks.serve(session)
        put.append(len(session.asked))
        scene.asks.session_ended()
    assert put == [1] * 5 + [0] * 5
    with pytest.raises(NoAnswerError, match="broke off again and again"):
        asked.result(LONG)


def test_more_than_so_many_are_told_to_come_again(scene: Scene) -> None:
    asked = [scene.ask({}) for _ in range(70)]
    scene.serve_until(Session(), lambda: sum(one.done() for one in asked) == 6)
    for one in asked:
        if one.done():
            with pytest.raises(AskRefusedError, match="too many ask at once"):
                one.result()
    for waiting in (*scene.asks._put.values(), *scene.asks._waiting):
        waiting.reply.close()


@pytest.mark.parametrize(
    ("kind", "payload"),
    [("echo", {"x": "a" * MOST_PAYLOAD_BYTES}), ("No kind", {}), ("echo", []), ("echo", {"x": {1}})],
)
def test_what_no_tally_would_take_is_not_asked(scene: Scene, kind: str, payload: Any) -> None:
    with pytest.raises(WireError):
        scene.requester.ask(kind, payload, LONG)
    assert not select.select([scene.sender_end], [], [], 0)[0]


def test_the_largest_payload_goes_both_ways(scene: Scene) -> None:
    payload = {"x": "é" * ((MOST_PAYLOAD_BYTES - 8) // 2)}
    session = Session()
    session.say = echo
    asked = scene.ask(payload)
    scene.serve_until(session, asked.done)
    assert asked.result().payload == payload


@pytest.mark.parametrize("said", [b"x", b"[]", b"[" * 5000, b'{"kind":"echo"}', b'{"kind":1,"deadline":"x"}'])
def test_nonsense_on_its_socket_does_not_hurt_the_sender(scene: Scene, said: bytes) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        socket.send_fds(scene.askers_end, [said], [theirs.fileno()])
        scene.askers_end.send(b"no socket comes with this")
    session = Session()
    session.say = echo
    asked = scene.ask({"x": 1})
    scene.serve_until(session, asked.done)
    assert asked.result().payload == {"x": 1}


def test_when_all_askers_are_gone_there_is_nothing_left_to_wait_on(scene: Scene) -> None:
    assert scene.asks.descriptors() == [scene.sender_end.fileno()]
    scene.askers_end.close()
    assert not scene.asks.wait_for_a_session()
    assert scene.asks.descriptors() == []


def test_nothing_of_an_ask_is_shown_by_accident(scene: Scene) -> None:
    session = Session()
    asked = scene.ask({"key": "s3cret"})
    scene.put(session, 1)
    assert "s3cret" not in repr((scene.asks._put, session.asked))
    session.say = echo
    scene.serve_until(session, asked.done)
    assert "s3cret" not in repr(asked.result())
