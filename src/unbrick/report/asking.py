"""Asks the tally from any of our processes, over the one session, which the sender's process holds.

Each ask hands the sender a socket of its own, and its answer comes back there: any number of processes ask at
once, none sees another's answer, and the end of the sender is the end of that socket.

What is asked and answered may be a secret: it is in no file, no log, no status, no `repr` and no error.
"""

from __future__ import annotations

import json
import math
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

from unbrick.errors import FailedError, Reason
from unbrick.events.wire import (
    ASKING_PROTOCOL,
    LONGEST_ASK_SECONDS,
    MOST_ASKS_AT_ONCE,
    MOST_PAYLOAD_BYTES,
    Answer,
    Ask,
    WireError,
    ask_of,
)
from unbrick.report.sender_status import SenderState, SenderStatus

_MOST_BYTES = MOST_PAYLOAD_BYTES + 4096
_MOST_WAITING = 64
_MOST_TRIES = 5

# What comes back to an asker begins with one of these.
_ANSWERED, _REFUSED, _TOO_OLD, _GIVEN_UP = b"+", b"-", b"<", b"!"


class NoAnswerError(FailedError):
    """No answer came in time, or the tally or the sender's process is not there."""


class CannotAskError(FailedError):
    """The tally is of a version that only takes reports."""


class AskRefusedError(FailedError):
    """The tally refused to answer; `word` is its reason, for programs."""

    def __init__(self, message: str, word: str) -> None:
        super().__init__(message)
        self.word = word


@dataclass(frozen=True)
class Requester:
    """Asks; for any process that was forked from the one that started the sender."""

    _sender: socket.socket
    _status: Callable[[], SenderStatus]

    def ask(self, kind: str, payload: Mapping[str, Any], seconds: float) -> Answer:
        """Ask the tally, and wait so many seconds at most, `LONGEST_ASK_SECONDS` at the very most.

        Until then the sender goes on trying where the tally cannot be reached. Where the session breaks, it
        asks again in the next one: what must count once carries a number of its own in the payload.
        Raises NoAnswerError, CannotAskError, AskRefusedError, and WireError for a payload that is too large.
        """
        seconds = min(seconds, LONGEST_ASK_SECONDS)
        deadline = time.monotonic() + seconds
        _checked(kind, payload)
        ask = json.dumps(
            {"kind": kind, "deadline": deadline, "payload": payload}, ensure_ascii=False
        ).encode()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours:
            with theirs:
                self._hand_over(ask, theirs, deadline, seconds)
            said = b""
            with suppress(OSError):
                said = ours.recv(_MOST_BYTES) if _is_ready(ours, select.POLLIN, deadline) else b""
        if said:
            return _answer_in(said)
        raise self._too_late(seconds) if time.monotonic() >= deadline else self._gone()

    def _hand_over(self, ask: bytes, reply: socket.socket, deadline: float, seconds: float) -> None:
        while True:
            try:
                socket.send_fds(self._sender, [ask], [reply.fileno()])
            except BlockingIOError:  # the sender is busy: so many ask
                if not _is_ready(self._sender, select.POLLOUT, deadline):
                    raise self._too_late(seconds) from None
            except OSError as error:
                raise self._gone() from error
            else:
                return

    def _too_late(self, seconds: float) -> NoAnswerError:
        status = self._status()
        why = f": {status.why}" if status.state is SenderState.UNREACHABLE else ""
        return NoAnswerError(f"the tally did not answer within {seconds:g} s{why}", reason=Reason.TIMED_OUT)

    def _gone(self) -> NoAnswerError:
        status = self._status()
        if status.state is SenderState.REFUSED:
            return NoAnswerError(f"the tally cannot be asked: {status.why}")
        return NoAnswerError("the tally cannot be asked: the process that talks to it has ended")


@dataclass
class _Waiting:
    """An ask in the sender's process, and the socket on which its asker waits."""

    kind: str
    deadline: float
    body: bytes = field(repr=False)
    reply: socket.socket
    tries: int = 0

    def give(self, said: bytes) -> None:
        """Say what came of it; the asker may be gone."""
        with suppress(OSError):
            self.reply.send(said)
        self.reply.close()


class AskedSession(Protocol):
    """What asking needs of a `session.TallySession`."""

    @property
    def protocol(self) -> int: ...
    def ask(self, ask: Ask) -> None: ...
    def answers(self) -> list[tuple[int, Answer]]: ...
    def fileno(self) -> int: ...


class Asks:
    """The asks in the sender's process: taken in, put to the tally, and each answered to who asked it.

    `askers` is where asks come in; None where there are none.
    """

    def __init__(
        self, askers: socket.socket | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._askers = askers
        if askers is not None:
            askers.setblocking(False)
        self._clock = clock
        self._waiting: deque[_Waiting] = deque()
        self._put: dict[int, _Waiting] = {}
        self._session: AskedSession | None = None
        self._number = 0

    def wait_for_a_session(self) -> bool:
        """Whether anybody is waiting for one to be opened."""
        self._take_in()
        return bool(self._waiting) and self._session is None

    def descriptors(self) -> list[int]:
        """What becomes readable with something to do here."""
        found = [] if self._askers is None else [self._askers.fileno()]
        if self._session is not None and self._put:
            found.append(self._session.fileno())
        return found

    def serve(self, session: AskedSession) -> None:
        """Put to the tally what waits, and hand out what it answered; raises TallyUnreachableError."""
        self._session = session
        self._take_in()
        while self._waiting and len(self._put) < MOST_ASKS_AT_ONCE:
            self._put_to(session, self._waiting.popleft())
        if self._put:
            for number, answer in session.answers():
                asked = self._put.pop(number, None)  # None: its time was over
                if asked is not None:
                    asked.give(_said(answer))

    def session_ended(self) -> None:
        """Have what was put to the tally wait for the next session, in its order."""
        self._waiting.extendleft(reversed(self._put.values()))
        self._put.clear()
        self._session = None

    def close(self) -> None:
        """Tell everybody who waits that no answer comes."""
        for asked in (*self._waiting, *self._put.values()):
            asked.reply.close()
        self._waiting.clear()
        self._put.clear()

    def _put_to(self, session: AskedSession, asked: _Waiting) -> None:
        if session.protocol < ASKING_PROTOCOL:
            asked.give(_TOO_OLD)
            return
        if asked.tries == _MOST_TRIES:  # it may be what breaks the sessions, and reports must go on
            asked.give(_GIVEN_UP)
            return
        asked.tries += 1
        self._number += 1
        self._put[self._number] = asked
        left = math.ceil(asked.deadline - self._clock())
        session.ask(Ask(self._number, asked.kind, min(max(left, 1), LONGEST_ASK_SECONDS), asked.body))

    def _take_in(self) -> None:
        """Read what our processes ask, and drop what nobody waits for any longer."""
        while self._askers is not None:
            try:
                data, files, *_ = socket.recv_fds(self._askers, _MOST_BYTES, 1)
            except BlockingIOError:
                break
            except OSError:
                data, files = b"", []
            if not data:  # everyone who could ask is gone
                self._askers.close()
                self._askers = None
            for file in files:
                self._begin(data, socket.socket(fileno=file))
        now = self._clock()
        for number in [one for one, asked in self._put.items() if asked.deadline <= now]:
            self._put.pop(number).reply.close()
        for asked in [one for one in self._waiting if one.deadline <= now]:
            self._waiting.remove(asked)
            asked.reply.close()

    def _begin(self, data: bytes, reply: socket.socket) -> None:
        reply.setblocking(False)
        try:
            said = json.loads(data)
            ask = _checked(said["kind"], said["payload"])
            asked = _Waiting(ask.kind, float(said["deadline"]), ask.body, reply)
        except (ValueError, KeyError, TypeError, RecursionError, WireError):
            reply.close()
            return
        if len(self._waiting) + len(self._put) < _MOST_WAITING:
            self._waiting.append(asked)
        else:
            asked.give(_said(Answer(error="too-many", text="too many ask at once; ask again in a moment")))


def _is_ready(end: socket.socket, event: int, deadline: float) -> bool:
    poll = select.poll()
    poll.register(end, event)
    return bool(poll.poll(max(deadline - time.monotonic(), 0.0) * 1000))


def _checked(kind: Any, payload: Any) -> Ask:
    """What the wire would take; raises WireError. Number and time are the sender's to say."""
    return ask_of({"id": 1, "kind": kind, "seconds": 1, "payload": payload})


def _said(answer: Answer) -> bytes:
    if answer.error:
        return _REFUSED + json.dumps([answer.error, answer.text]).encode()
    return _ANSWERED + answer.body


def _answer_in(said: bytes) -> Answer:
    """The reverse of `_said`; raises what `Requester.ask` does."""
    kind, rest = said[:1], said[1:]
    if kind == _ANSWERED:
        return Answer(rest)
    if kind == _REFUSED:
        word, text = json.loads(rest)
        raise AskRefusedError(f"the tally refused to answer: {text or word}", word)
    if kind == _GIVEN_UP:
        raise NoAnswerError("the tally cannot be asked: the session with it broke off again and again")
    raise CannotAskError(
        "the tally cannot be asked: it is of an earlier version, which takes reports only",
        hint="bring the tally to this version of unbrick",
    )
