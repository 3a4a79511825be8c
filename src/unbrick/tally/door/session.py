"""One station's conversation over one SSH channel: greets, takes batches, answers once they are durable.

At most one frame is held at a time; while a batch is in hand nothing more is read, and SSH's own window stops
the sender. Asks (`asks.py`) are answered beside that. The limits of all connections of a station together are
in `limits.py`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import asyncssh

from unbrick.events.event import moment
from unbrick.events.wire import (
    ASKING_PROTOCOL,
    FIRST_PROTOCOL,
    MOST_ASK_BYTES,
    PROTOCOL,
    SUBSYSTEM,
    Ask,
    FrameReader,
    SignedEvent,
    WireError,
    ask_of,
    chosen_protocol,
    encode_frame,
    events_of,
    parse_message,
)
from unbrick.tally.door.asks import AnswerDesk, AsksInHand
from unbrick.tally.door.budgets import DayBudgets
from unbrick.tally.door.group_commit import GroupCommit, StoreBusyError
from unbrick.tally.door.intake import Intake, Refusal
from unbrick.tally.door.limits import FramesInMemory, Limits, Pace, StationPace
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.trust.admission import Admission, RefusedLoginError, check_still_admitted
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.register import RegisterError, StationRegister
from unbrick.tally.trust.renewals import Renewals

_MOST_HELLO = 4096
_EVENT_MARK = b'"signature"'
_TOO_FAST = "this station reports more than the tally takes of one at a time; try again in a moment"
_TOO_MUCH_HELD = "more arrives at once than the tally can hold; try again in a moment"


@dataclass(frozen=True)
class Desk:
    """What all conversations share: who is trusted, who judges, stores, and writes down."""

    register: StationRegister
    intake: Intake
    commit: GroupCommit[ReceivedEvent]
    audit: AuditLog
    limits: Limits
    clock: Callable[[], datetime]
    paces: Mapping[str, StationPace]
    frames: FramesInMemory
    out_of_memory: Callable[[], None]
    budgets: DayBudgets
    renewals: Renewals
    answers: AnswerDesk


class Line(Protocol):
    """What a session knows of its connection (`StationConnection`)."""

    def refuse(self, why: str, detail: str = "") -> None: ...
    def count_stored(self, events: int) -> None: ...
    def begins(self, session: StationSession) -> bool: ...
    def session_ended(self, session: StationSession) -> None: ...
    def look_again(self) -> None: ...


class _EndError(Exception):
    """The conversation ends: `why` for the audit (empty where nothing is wrong), `text` for the station."""

    def __init__(self, why: str, text: str) -> None:
        super().__init__(text)
        self.why = why
        self.text = text


class StationSession(asyncssh.SSHServerSession[bytes]):
    """The server's end of one session channel; everything but the subsystem of `wire` is refused."""

    def __init__(self, desk: Desk, admission: Admission, line: Line) -> None:
        self._desk = desk
        self._admission = admission
        self._line: Line | None = line
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._reader = FrameReader(most_bytes=desk.limits.frame_bytes)
        self._bodies: deque[bytes] = deque()
        self._in_hand = 0
        self._broken: WireError | _EndError | None = None
        self._frame_since: float | None = None
        self._unread = False
        self._gone = False
        self._stopping = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pace = desk.paces[admission.station]
        self._protocol = FIRST_PROTOCOL
        self._asks = AsksInHand(desk.answers, admission.station)

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def shell_requested(self) -> bool:
        self._refused("a shell was asked for", "")
        return False

    def exec_requested(self, command: str) -> bool:
        self._refused("a command was to be run", "")
        return False

    def subsystem_requested(self, subsystem: str) -> bool:
        if subsystem != SUBSYSTEM:
            self._refused("another subsystem was asked for", subsystem)
            return False
        return self._line is not None and self._line.begins(self)

    def session_started(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._converse())

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        """Take bytes; once a message is whole, reading pauses until it is dealt with."""
        loop_time = asyncio.get_running_loop().time()
        if self._broken is not None:
            return
        try:
            whole = list(self._reader.feed_bodies(data))
        except WireError as error:
            self._broken, whole = error, []
        self._bodies.extend(whole)
        self._count_frames()
        if whole or self._frame_since is None:
            self._frame_since = loop_time if self._reader.waiting else None
        if (self._bodies or self._broken) and self._channel is not None:
            self._channel.pause_reading()
        self._wake.set()

    def _count_frames(self) -> None:
        """Count the memory held here; where all sessions together hold too much, one of them gives up."""
        held = self._reader.held + sum(map(len, self._bodies)) + self._in_hand + self._asks.held
        if self._channel is None or self._broken is not None:
            held = 0
        greediest = self._desk.frames.hold(self._admission.station, self, held)
        if isinstance(greediest, StationSession):
            greediest.give_up()

    def give_up(self) -> None:
        self._reader.drop()
        self._bodies.clear()
        self._asks.drop()
        self._in_hand = 0
        self._broken = _EndError("too many bytes of half frames", _TOO_MUCH_HELD)
        self._desk.frames.hold(self._admission.station, self, 0)
        self._wake.set()

    def pause_writing(self) -> None:
        self._unread = True

    def resume_writing(self) -> None:
        self._unread = False
        self._wake.set()

    def eof_received(self) -> bool:
        self._gone = True
        self._wake.set()
        return True  # what was sent is still answered

    def connection_lost(self, exc: Exception | None) -> None:
        self._gone = True  # a batch in hand is stored all the same
        self._channel = None
        self._bodies.clear()
        self._reader.drop()
        self._count_frames()
        line, self._line = self._line, None
        if line is not None:
            line.session_ended(self)
        self._wake.set()

    def say_goodbye(self, text: str) -> None:
        self._send({"type": "bye", "text": text})

    async def stop(self) -> None:
        self._stopping = True  # after the batch in hand
        self._wake.set()
        if self._task is not None:
            await asyncio.wait([self._task])

    async def _converse(self) -> None:
        try:
            await self._greet()
            while True:
                body = await self._next()
                ask = self._ask_in(body)
                if ask is not None:
                    self._check_admission()
                    in_pace = await self._paced(self._pace.asks, 1)
                    await self._asks.begin(ask, self._reply, self._asks_changed, in_pace=in_pace)
                elif await self._paced(self._pace.events, max(body.count(_EVENT_MARK), 1)):
                    events = _events_in(body)
                    del body  # of a message, only its events stay in memory
                    if events is None:
                        break
                    await self._take(events)
                else:
                    self._send({"type": "busy", "text": _TOO_FAST})
                self._in_hand = 0
                self._count_frames()
        except _EndError as error:
            self._end(error.why, "", error.text)
        except WireError as error:
            self._end("a broken message", error.message, error.message)
        except RegisterError as error:
            self._refused("the register of stations cannot be read", error.message)
            self._send({"type": "busy", "text": "the tally cannot read who is enrolled; try later"})
        except MemoryError:
            self._desk.out_of_memory()
        finally:
            self._asks.drop()
            if self._channel is not None:
                self._channel.exit(0)
                self._channel.close()

    async def _greet(self) -> None:
        body = await self._next()
        hello = parse_message(body) if len(body) <= _MOST_HELLO else {"type": "too long"}
        if hello["type"] != "hello":
            raise WireError("a first message that is no hello")
        protocol = chosen_protocol(hello)
        if protocol is None:
            raise _EndError(
                "a protocol of another version",
                f"this tally speaks protocols {FIRST_PROTOCOL} to {PROTOCOL}; bring both to one version",
            )
        self._protocol = protocol
        self._in_hand = 0
        time = moment(self._desk.clock())
        welcome = {"type": "welcome", "protocol": protocol, "time": time}
        certificate = await self._desk.renewals.greet(self._admission, renews=hello.get("renew") is True)
        welcome |= {"certificate": certificate} if certificate else {}
        self._send(welcome)

    async def _next(self) -> bytes:
        """The next message, not parsed; reading goes on meanwhile, and every wait has an end."""
        loop = asyncio.get_running_loop()
        idle_until = loop.time() + self._desk.limits.idle_seconds
        await self._answers_read()
        if self._frame_since is not None:  # what came while a batch was in hand was not late
            self._frame_since = loop.time()
        while True:
            if self._broken is not None:
                raise self._broken
            if self._bodies:
                body = self._bodies.popleft()
                self._in_hand = len(body)
                return body
            if self._stopping:
                raise _EndError("", "the tally stops; try again in a moment")
            if self._channel is None or (self._gone and not self._asks.held):
                raise _EndError("", "")
            until = idle_until
            if self._frame_since is not None:
                until = self._frame_since + self._desk.limits.frame_seconds
            if loop.time() >= until:
                if self._frame_since is None:
                    raise _EndError("", "nothing was sent for too long")
                raise _EndError("a frame came too slowly", "a frame came too slowly")
            self._wake.clear()
            self._channel.resume_reading()
            if not self._wake.is_set():
                await self._woken(until - loop.time())

    async def _paced(self, pace: Pace, count: int) -> bool:
        """Slow down a station that reports or asks too fast; False where the message must come again later.

        No event of a message is read before that.
        """
        limits = self._desk.limits
        loop = asyncio.get_running_loop()
        wait = pace.take(count)
        until = loop.time() + min(wait, limits.pace_seconds)
        while loop.time() < until and self._broken is None and self._channel is not None:
            if self._stopping:
                break
            self._wake.clear()
            await self._woken(until - loop.time())
        if self._broken is not None:
            raise self._broken
        if wait > limits.pace_seconds:
            pace.give_back(count)
            return False
        return True

    async def _answers_read(self) -> None:
        """Wait until the station reads its answers, so that nothing more is taken from it before."""
        until = asyncio.get_running_loop().time() + self._desk.limits.frame_seconds
        while self._unread and not self._gone and not self._stopping:
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                raise _EndError("answers were not read", "")
            self._wake.clear()
            await self._woken(left)

    async def _woken(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._wake.wait()

    async def _take(self, events: Sequence[SignedEvent]) -> None:
        desk = self._desk
        self._check_admission()
        async with self._pace.turn.of(len(events)):
            judged = await desk.intake.judge_gently(events)
            self._refuse(judged.refused)
            for station, count in judged.expired.items():
                desk.audit.of_station(
                    "signed-by-an-expired-certificate",
                    station,
                    count,
                    {"events": count, "by": self._admission.station},
                )
            beyond = desk.budgets.refusal(judged.received)
            if beyond is not None:
                self._send({"type": "busy", "text": beyond})
                return
            try:
                await desk.commit.add(judged.received)
            except StoreBusyError as error:
                self._send({"type": "busy", "text": error.message})
                return
        desk.budgets.spend(judged.received)
        if self._line is not None:
            self._line.count_stored(len(judged.received))
        self._send({"type": "acknowledge", "ids": judged.ids})  # only now: they are durable

    def _check_admission(self) -> None:
        desk = self._desk
        desk.register.refresh()
        try:
            check_still_admitted(self._admission, desk.register, desk.clock())
        except RefusedLoginError as error:
            if self._line is not None:
                self._line.look_again()
            raise _EndError("", "") from error

    def _ask_in(self, body: bytes) -> Ask | None:
        if self._protocol < ASKING_PROTOCOL or len(body) > MOST_ASK_BYTES:
            return None
        message = parse_message(body)
        return ask_of(message) if message["type"] == "ask" else None

    async def _reply(self, message: Mapping[str, Any]) -> None:
        with suppress(_EndError):
            await self._answers_read()
            self._send(message)

    def _asks_changed(self) -> None:
        self._count_frames()
        self._wake.set()

    def _refuse(self, refused: Sequence[Refusal]) -> None:
        by_reason: dict[tuple[str, str], list[str]] = {}
        for one in refused:
            by_reason.setdefault((one.reason, one.text), []).append(one.id)
        for (reason, text), ids in by_reason.items():
            self._send({"type": "refuse", "ids": ids, "reason": reason, "text": text})
            self._refused(f"an event: {reason}", text)

    def _refused(self, why: str, detail: str) -> None:
        if self._line is not None:
            self._line.refuse(why, detail)

    def _send(self, message: Mapping[str, Any]) -> None:
        if self._channel is not None and not self._channel.is_closing():
            self._channel.write(encode_frame(message))

    def _end(self, why: str, detail: str, text: str) -> None:
        if why:
            self._refused(why, detail)
        if text:
            self._send({"type": "bye", "text": text})


def _events_in(body: bytes) -> tuple[SignedEvent, ...] | None:
    """The events of a `send`, None for a `bye`; raises WireError."""
    message = parse_message(body)
    if message["type"] == "bye":
        return None
    if message["type"] != "send":
        raise WireError("a message of a kind that this tally does not know")
    return events_of(message)
