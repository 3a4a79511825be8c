"""What station and tally say to each other: frames of JSON over one SSH channel, versioned.

A frame is a four-byte big-endian length and that many bytes of UTF-8 JSON, an object with a `type`. The
station opens the subsystem `unbrick-tally` and speaks first:

    station: {"type": "hello", "protocol": 1, "highest": 2, "version": "0.1.0"}
    tally:   {"type": "welcome", "protocol": 2, "time": "2026-11-25T17:00:00.000000Z"}
    station: {"type": "send", "events": [{"data": "<canonical JSON>", "signature": "<armored SSHSIG>"}, …]}
    tally:   {"type": "acknowledge", "ids": ["<event id>", …]}            durable now; forget them
    tally:   {"type": "refuse", "ids": [...], "reason": "…", "text": "…"}  never sendable; set aside
    tally:   {"type": "busy", "text": "…"}                                 not stored; keep and try later
    station: {"type": "ask", "id": 7, "kind": "echo", "seconds": 20, "payload": {…}}
    tally:   {"type": "answer", "id": 7, "payload": {…}}
    tally:   {"type": "answer", "id": 7, "error": "unknown-kind", "text": "…"}
    either:  {"type": "bye", "text": "…"}                                  before closing on purpose

A hello says the lowest and the highest protocol that the station speaks, the welcome the one that is spoken
from then on. A station of version 1 says no `highest`; a tally of version 1 ignores it, and answers 1.

`ask` and `answer` are protocol 2. The ids of a session's asks only grow. Answers come in any order, also
between those to a `send`, and at most so many seconds later. A station has at most `MOST_ASKS_AT_ONCE` asks
without an answer; a frame with an ask has at most `MOST_ASK_BYTES`. A session that breaks takes its asks with
it, and the station asks again in the next one, under another id: what must count once carries a number of its
own in the payload. A payload may be a secret, at either end.

`time` is the tally's clock, for stations whose own cannot be right; an older tally does not send it.

Everything read here is hostile: lengths first, then types. What is refused raises WireError.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from unbrick.errors import FailedError
from unbrick.events.event import MOST_BYTES, Event, parse_event

FIRST_PROTOCOL = 1
ASKING_PROTOCOL = 2
PROTOCOL = 2
SUBSYSTEM = "unbrick-tally"
MOST_FRAME_BYTES = 1024 * 1024
MOST_EVENTS_IN_A_FRAME = 256
MOST_PAYLOAD_BYTES = 16 * 1024
MOST_ASK_BYTES = MOST_PAYLOAD_BYTES + 1024
MOST_ASKS_AT_ONCE = 8
LONGEST_ASK_SECONDS = 300
_MOST_SIGNATURE = 16 * 1024
_LENGTH = struct.Struct(">I")
_ID = re.compile(r"[0-9a-f]{64}")
_KIND = re.compile(r"[a-z][a-z0-9-]{0,31}")
_HIGHEST_NUMBER = 2**53 - 1  # what every reader of JSON keeps exactly


class WireError(FailedError):
    """Bytes that are no frame of this protocol, or a message of the wrong shape."""


@dataclass(frozen=True)
class SignedEvent:
    """An event as it was signed: its canonical bytes and the armored SSHSIG signature over them."""

    data: bytes
    signature: str

    @property
    def id(self) -> str:
        """The SHA-256 of the data as it was signed, of any schema: what an event is counted by."""
        return hashlib.sha256(self.data).hexdigest()

    def event(self) -> Event:
        """Raises EventError. The signature is not checked here."""
        return parse_event(self.data)

    def to_document(self) -> dict[str, str]:
        """As in a `send` message, an outbox file and an export: text as it was signed."""
        return {"data": self.data.decode(), "signature": self.signature}


def signed_event(document: Any) -> SignedEvent:
    """The reverse of `to_document`. Only shape and size are checked."""
    if not isinstance(document, Mapping) or set(document) != {"data", "signature"}:
        raise WireError("an event that is not data and signature")
    data, signature = document["data"], document["signature"]
    if not isinstance(data, str) or not isinstance(signature, str):
        raise WireError("an event that is not data and signature")
    if len(signature) > _MOST_SIGNATURE or not signature.isascii():
        raise WireError("an event whose signature is too long or no plain text")
    try:
        raw = data.encode()
    except UnicodeEncodeError as error:
        raise WireError("an event that is not text") from error
    if len(raw) > MOST_BYTES:
        raise WireError(f"an event of {len(raw)} bytes; at most {MOST_BYTES} are taken")
    return SignedEvent(raw, signature)


def encode_frame(message: Mapping[str, Any]) -> bytes:
    # Half a surrogate pair, which JSON can carry and UTF-8 cannot, is sent as a question mark.
    body = json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
    if len(body) > MOST_FRAME_BYTES:
        raise WireError(f"a frame of {len(body)} bytes; at most {MOST_FRAME_BYTES} are taken")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Takes bytes as they come and gives whole messages; holds at most one frame."""

    def __init__(self, *, most_bytes: int = MOST_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._most_bytes = most_bytes

    @property
    def waiting(self) -> bool:
        """Whether a frame has begun and is not whole yet."""
        return bool(self._buffer)

    @property
    def held(self) -> int:
        """The bytes of that frame that are here."""
        return len(self._buffer)

    def drop(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[dict[str, Any]]:
        """The messages that these bytes complete; after a WireError the channel must be closed.

        The bytes are taken at once, even if the caller never asks for a message.
        """
        return map(parse_message, self.feed_bodies(data))

    def feed_bodies(self, data: bytes) -> Iterator[bytes]:
        """The same, with each message as the bytes that `parse_message` reads."""
        self._buffer += data
        return self._whole_bodies()

    def _whole_bodies(self) -> Iterator[bytes]:
        while len(self._buffer) >= _LENGTH.size:
            length = _LENGTH.unpack_from(self._buffer)[0]
            if length > self._most_bytes:
                raise WireError(f"a frame of {length} bytes; at most {self._most_bytes} are taken")
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[_LENGTH.size : end])
            del self._buffer[:end]
            yield body


def parse_message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise WireError("a frame that is not JSON") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise WireError("a frame that is no message")
    return message


def events_of(message: Mapping[str, Any]) -> tuple[SignedEvent, ...]:
    """The events of a `send` message."""
    events = message.get("events")
    if not isinstance(events, list) or len(events) > MOST_EVENTS_IN_A_FRAME:
        raise WireError(f"a send message without at most {MOST_EVENTS_IN_A_FRAME} events")
    return tuple(signed_event(event) for event in events)


def ids_of(message: Mapping[str, Any]) -> tuple[str, ...]:
    """The event ids of an `acknowledge` or `refuse` message."""
    ids = message.get("ids")
    if not isinstance(ids, list) or not all(isinstance(one, str) and _ID.fullmatch(one) for one in ids):
        raise WireError("a message without event ids")
    return tuple(ids)


def chosen_protocol(hello: Mapping[str, Any]) -> int | None:
    """The highest protocol that a greeting station and we both speak; None where there is none."""
    lowest = hello.get("protocol")
    highest = hello.get("highest", lowest)
    if type(lowest) is not int or type(highest) is not int:
        return None
    chosen = min(highest, PROTOCOL)
    return chosen if max(lowest, FIRST_PROTOCOL) <= chosen else None


@dataclass(frozen=True)
class Ask:
    """A question to the tally. `body` is the payload as JSON, and may be a secret: it is not shown."""

    number: int
    kind: str
    seconds: int
    body: bytes = field(repr=False)

    @property
    def payload(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    def to_message(self) -> dict[str, Any]:
        head = {"type": "ask", "id": self.number, "kind": self.kind, "seconds": self.seconds}
        return {**head, "payload": self.payload}


@dataclass(frozen=True)
class Answer:
    """A payload, which is not shown either, or an error: a word for programs and a sentence."""

    body: bytes = field(default=b"{}", repr=False)
    error: str = ""
    text: str = ""

    @property
    def payload(self) -> dict[str, Any]:
        """Empty where there is an error."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def to_message(self, number: int) -> dict[str, Any]:
        """The answer to the ask of that number."""
        said = {"error": self.error, "text": self.text} if self.error else {"payload": self.payload}
        return {"type": "answer", "id": number, **said}


def ask_of(message: Mapping[str, Any]) -> Ask:
    kind, seconds = message.get("kind"), message.get("seconds")
    if not isinstance(kind, str) or not _KIND.fullmatch(kind):
        raise WireError("an ask without a kind")
    if type(seconds) is not int or not 1 <= seconds <= LONGEST_ASK_SECONDS:
        raise WireError(f"an ask without a time limit of 1 to {LONGEST_ASK_SECONDS} seconds")
    return Ask(_number_of(message), kind, seconds, payload_bytes(message.get("payload")))


def answer_of(message: Mapping[str, Any]) -> tuple[int, Answer]:
    error, text = message.get("error"), message.get("text", "")
    if error is None:
        return _number_of(message), Answer(payload_bytes(message.get("payload")))
    if not isinstance(error, str) or not _KIND.fullmatch(error) or not isinstance(text, str):
        raise WireError("an answer whose error is no word and no sentence")
    return _number_of(message), Answer(error=error, text=text)


def payload_bytes(payload: Any) -> bytes:
    """The payload of an ask or an answer as compact JSON."""
    if not isinstance(payload, Mapping):
        raise WireError("a payload that is no object")
    try:
        body = json.dumps(dict(payload), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, TypeError, RecursionError):
        raise WireError("a payload that is not JSON") from None  # the cause would show what it holds
    if len(body) > MOST_PAYLOAD_BYTES:
        raise WireError(f"a payload of {len(body)} bytes; at most {MOST_PAYLOAD_BYTES} are taken")
    return body


def _number_of(message: Mapping[str, Any]) -> int:
    number = message.get("id")
    if type(number) is not int or not 1 <= number <= _HIGHEST_NUMBER:
        raise WireError("an ask or an answer without its number")
    return number
