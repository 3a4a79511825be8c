"""A station as the tally meets it, by an independent SSH client (asyncssh), well-behaved or not."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from unbrick.events.event import NAMESPACE, Event
from unbrick.events.wire import SUBSYSTEM, FrameReader, SignedEvent, encode_frame
from unbrick.model import Machine
from unbrick.signing.certificates import public_blob, read_private
from unbrick.signing.signature import armor, signed_data

HELLO = {"type": "hello", "protocol": 1, "version": "test"}
_ALGORITHM = b"\0\0\0\x0bssh-ed25519\0\0\0\x40"


def sign(data: bytes, key: Ed25519PrivateKey, namespace: str = NAMESPACE) -> SignedEvent:
    """Sign bytes as a station does."""
    signature = _ALGORITHM + key.sign(signed_data(data, namespace))
    return SignedEvent(data, armor(public_blob(key.public_key()), signature, namespace))


def make_event(sequence: int, *, run: str = "20240719T090000Z-0000ab", **changes: Any) -> Event:
    """An event of one run on one machine."""
    machine = Machine(disk_guid=hashlib.sha256(run.encode()).hexdigest()[:8].upper(), hostnames=("WARD-1",))
    fields: dict[str, Any] = {"kind": "note", "at": "2009-01-01T00:00:00.000000Z", "machine": machine}
    return Event(run=run, sequence=sequence, **{**fields, **changes})


def event_id(signed: SignedEvent) -> str:
    """What the tally acknowledges."""
    return hashlib.sha256(signed.data).hexdigest()


@dataclass(frozen=True)
class StationFiles:
    """The folder that holds a station's key and certificate."""

    folder: Path
    name: str = "station"

    @property
    def key(self) -> Ed25519PrivateKey:
        return read_private(self.folder / "station")

    def signed(self, first: int, count: int, run: str = "20240719T090000Z-0000ab") -> list[SignedEvent]:
        """Some events in a row, signed by this station."""
        key = self.key
        return [sign(make_event(number, run=run).to_bytes(), key) for number in range(first, first + count)]

    async def connect(self, port: int, **changes: Any) -> asyncssh.SSHClientConnection:
        """Log in; `changes` are asyncssh's options."""
        identity = [(str(self.folder / "station"), str(self.folder / "station-cert.pub"))]
        options: dict[str, Any] = {
            "username": self.name,
            "client_keys": identity,
            "known_hosts": None,
            "config": None,
            "agent_path": None,
            "preferred_auth": "publickey",
        }
        return await asyncssh.connect("127.0.0.1", port, **{**options, **changes})


class Talk:
    """One conversation in our subsystem."""

    def __init__(self, process: asyncssh.SSHClientProcess[bytes]) -> None:
        self._process = process
        self._reader = FrameReader()
        self._messages: list[dict[str, Any]] = []

    @classmethod
    async def begin(
        cls, connection: asyncssh.SSHClientConnection, *, greet: bool = True, **options: Any
    ) -> Talk:
        """Open the subsystem and exchange greetings."""
        process = await connection.create_process(subsystem=SUBSYSTEM, encoding=None, **options)
        talk = cls(process)
        if greet:
            talk.say(HELLO)
            welcome = await talk.hear()
            assert welcome is not None
            assert welcome.pop("time").endswith("Z")
            assert welcome == {"type": "welcome", "protocol": 1}
        return talk

    def say(self, message: dict[str, Any]) -> None:
        """Send a whole frame."""
        self.write(encode_frame(message))

    def write(self, data: bytes) -> None:
        """Send bytes, whatever they are."""
        self._process.stdin.write(data)

    async def hear(self) -> dict[str, Any] | None:
        """The next message, None where the tally has closed."""
        while not self._messages:
            data = await self._process.stdout.read(65536)
            if not data:
                return None
            self._messages += self._reader.feed(data)
        return self._messages.pop(0)

    async def send(self, events: Sequence[SignedEvent]) -> list[dict[str, Any]]:
        """Send events and give every answer to them: refusals, then acknowledge or busy, or bye."""
        self.say({"type": "send", "events": [event.to_document() for event in events]})
        answers = []
        while (answer := await self.hear()) is not None:
            answers.append(answer)
            if answer["type"] != "refuse":
                break
        return answers


def length_prefix(length: int) -> bytes:
    """The announcement of a frame."""
    return struct.pack(">I", length)


def audit_lines(folder: Path) -> list[dict[str, Any]]:
    """The tally's audit and its refusals, as they came."""
    paths = [folder / "audit.log", folder / "refusals.log"]
    lines = [json.loads(line) for path in paths if path.exists() for line in path.read_text().splitlines()]
    return sorted(lines, key=lambda line: str(line["at"]))
