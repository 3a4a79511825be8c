"""A station, well-behaved or not, that speaks the tally's protocol over asyncssh with frames of its own."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import asyncssh
from support.outside.events import Signer, ids_of, notes, visit

SUBSYSTEM = "unbrick-tally"
HELLO = {"type": "hello", "protocol": 1, "version": "outside"}
HELLO_2 = {**HELLO, "highest": 2}
_MOST_ANSWER = 16 * 1024 * 1024


def frame(message: Mapping[str, Any]) -> bytes:
    """A message as it goes over the wire."""
    body = json.dumps(message, separators=(",", ":")).encode()
    return struct.pack(">I", len(body)) + body


class Conversation:
    """One session channel in the tally's subsystem."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self.process = process

    def say(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        self.write(frame(message))

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self.process.stdin.write(data)

    async def hear(self) -> dict[str, Any] | None:
        """The next message; None where the tally has ended the conversation."""
        try:
            (length,) = struct.unpack(">I", await self.process.stdout.readexactly(4))
            assert length <= _MOST_ANSWER
            body = await self.process.stdout.readexactly(length)
        except (EOFError, ConnectionError, asyncssh.Error, struct.error):
            return None
        message: dict[str, Any] = json.loads(body)
        return message

    async def greet(self, hello: Mapping[str, Any] = HELLO, protocol: int = 1) -> dict[str, Any]:
        """Exchange greetings; gives the tally's, which chooses that protocol."""
        self.say(hello)
        welcome = await self.hear()
        assert welcome is not None, "no welcome"
        assert (welcome["type"], welcome["protocol"]) == ("welcome", protocol), welcome
        return welcome

    async def ask(self, number: int, kind: str, payload: Any = None, seconds: int = 20) -> dict[str, Any]:
        """Ask, and wait for the answer to that; whatever else is said meanwhile is an error."""
        self.put(number, kind, payload, seconds)
        answer = await self.hear()
        assert answer is not None, "hung up"
        assert (answer["type"], answer["id"]) == ("answer", number), answer
        return answer

    def put(self, number: int, kind: str, payload: Any = None, seconds: int = 20) -> None:
        """Ask, and wait for nothing."""
        head = {"type": "ask", "id": number, "kind": kind, "seconds": seconds}
        self.say({**head, "payload": {} if payload is None else payload})

    async def send(self, events: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
        """Send signed events; every answer to them, of which the last is no `refuse`. Empty: hung up."""
        self.say({"type": "send", "events": list(events)})
        answers = []
        while (answer := await self.hear()) is not None:
            answers.append(answer)
            if answer["type"] != "refuse":
                break
        return answers

    async def deliver(self, events: Sequence[Mapping[str, str]]) -> None:
        """Send signed events; all of them are acknowledged."""
        (answer,) = await self.send(events)
        assert answer["type"] == "acknowledge", answer
        assert sorted(answer["ids"]) == sorted(ids_of(events))


@dataclass(frozen=True)
class OutsideStation:
    """A folder as `tally init` or `tally enrol` fills it, and the name in its certificate."""

    folder: Path
    name: str = "station"

    @cached_property
    def signer(self) -> Signer:
        """The key in it."""
        return Signer.read(self.folder / "station")

    def visit(self, number: int, *names: str, **more: Any) -> list[dict[str, str]]:
        """A whole signed run; see `events.visit`."""
        return self.signer.signed(visit(number, *names, **more))

    def notes(self, count: int, **more: Any) -> list[dict[str, str]]:
        """Signed events that change no status; see `events.notes`."""
        return self.signer.signed(notes(count, **more))

    async def connect(
        self, port: int, host: str = "127.0.0.1", **changes: Any
    ) -> asyncssh.SSHClientConnection:
        """Log in; `changes` are asyncssh's options."""
        options: dict[str, Any] = {
            "username": self.name,
            "client_keys": [(str(self.folder / "station"), str(self.folder / "station-cert.pub"))],
            "known_hosts": None,
            "config": None,
            "agent_path": None,
            "preferred_auth": "publickey",
        }
        return await asyncssh.connect(host, port, **{**options, **changes})

    @asynccontextmanager
    async def conversation(
        self, port: int, host: str = "127.0.0.1", **changes: Any
    ) -> AsyncIterator[Conversation]:
        """A connection with one greeted conversation in it."""
        async with await self.connect(port, host, **changes) as connection:
            talk = await begin(connection)
            await talk.greet()
            yield talk

    @asynccontextmanager
    async def asking(self, port: int, host: str = "127.0.0.1") -> AsyncIterator[Conversation]:
        """The same in protocol 2, in which a station may ask."""
        async with await self.connect(port, host) as connection:
            talk = await begin(connection)
            await talk.greet(HELLO_2, 2)
            yield talk

    async def report(self, port: int, events: Sequence[Mapping[str, str]], host: str = "127.0.0.1") -> None:
        """A whole honest visit: log in, deliver, leave."""
        async with self.conversation(port, host) as talk:
            await talk.deliver(events)
            talk.say({"type": "bye", "text": "done"})


async def begin(connection: asyncssh.SSHClientConnection, **options: Any) -> Conversation:
    """Open the subsystem and say nothing yet."""
    return Conversation(await connection.create_process(subsystem=SUBSYSTEM, encoding=None, **options))
