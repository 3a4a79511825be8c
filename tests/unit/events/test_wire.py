"""Frames: whole or refused, however their bytes arrive, and never by anything but our own error."""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.wire import (
    MOST_EVENTS_IN_A_FRAME,
    MOST_FRAME_BYTES,
    FrameReader,
    SignedEvent,
    WireError,
    encode_frame,
    events_of,
    ids_of,
    signed_event,
)


def frame(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_frames_come_out_whole_however_the_bytes_arrive(step: int) -> None:
    messages: list[dict[str, Any]] = [
        {"type": "hello", "protocol": 1},
        {"type": "bye", "text": "späße"},
        {"type": "x"},
    ]
    data = b"".join(encode_frame(message) for message in messages)
    reader = FrameReader()
    seen = [m for at in range(0, len(data), step) for m in reader.feed(data[at : at + step])]
    assert seen == messages
    assert not reader.waiting


def test_bytes_are_taken_also_when_no_message_is_asked_for() -> None:
    data = encode_frame({"type": "hello"})
    reader = FrameReader()
    reader.feed(data[:3])
    assert reader.waiting
    assert list(reader.feed(data[3:])) == [{"type": "hello"}]


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_come() -> None:
    for length in (MOST_FRAME_BYTES + 1, 1 << 30, 2**32 - 1):
        with pytest.raises(WireError):
            list(FrameReader().feed(struct.pack(">I", length)))
    with pytest.raises(WireError):
        list(FrameReader(most_bytes=10).feed(frame(b'{"type":"hello"}')))


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{}", b'{"type":1}', b"\xff", b"{", b"[" * 100_000, b"1" * 10_000),
        '{"type":"hello"}'.encode("utf-16"),
    ],
)
def test_what_is_no_message_is_refused(body: bytes) -> None:
    with pytest.raises(WireError):
        list(FrameReader().feed(frame(body)))


@given(st.lists(st.binary(max_size=40), max_size=10))
def test_arbitrary_bytes_raise_nothing_but_ours(parts: list[bytes]) -> None:
    reader = FrameReader()
    try:
        for part in parts:
            for message in reader.feed(part):
                assert isinstance(message["type"], str)
    except WireError:
        return


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["\ud800", "a" * 64]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)
DOCUMENT = st.fixed_dictionaries({"data": JSON, "signature": JSON})


@given(JSON | DOCUMENT, st.lists(DOCUMENT | JSON, max_size=3) | JSON, JSON)
def test_arbitrary_messages_raise_nothing_but_ours(document: Any, events: Any, ids: Any) -> None:
    for read, message in (
        (signed_event, document),
        (events_of, {"events": events}),
        (ids_of, {"ids": ids}),
    ):
        try:
            read(message)
        except WireError:
            continue


@given(DOCUMENT | JSON)
def test_whatever_was_taken_can_be_sent_on(document: Any) -> None:
    try:
        event = signed_event(document)
    except WireError:
        return
    (message,) = FrameReader().feed(encode_frame({"type": "send", "events": [event.to_document()]}))
    assert events_of(message) == (event,)


def test_half_a_surrogate_pair_does_not_stop_an_answer() -> None:
    (message,) = FrameReader().feed(encode_frame({"type": "bye", "text": json.loads('"\\ud800"')}))
    assert message["text"] == "?"


def test_too_large_a_frame_is_not_made() -> None:
    with pytest.raises(WireError):
        encode_frame({"type": "x", "text": "x" * MOST_FRAME_BYTES})


def test_an_event_is_counted_by_its_bytes_as_signed() -> None:
    event = SignedEvent(b'{"schema":2}', "signature")
    assert event.id == hashlib.sha256(b'{"schema":2}').hexdigest()
    assert signed_event(event.to_document()) == event


def test_too_many_events_and_ids_that_are_none_are_refused() -> None:
    one = SignedEvent(b"{}", "s").to_document()
    assert len(events_of({"events": [one] * MOST_EVENTS_IN_A_FRAME})) == MOST_EVENTS_IN_A_FRAME
    for events in ([one] * (MOST_EVENTS_IN_A_FRAME + 1), [one | {"more": 1}], None, "x"):
        with pytest.raises(WireError):
            events_of({"events": events})
    assert ids_of({"ids": ["0" * 64]}) == ("0" * 64,)
    for ids in (["0" * 63], ["../" + "0" * 61], ["0" * 63 + "\n"], ["G" * 64], None, "0" * 64, [1]):
        with pytest.raises(WireError):
            ids_of({"ids": ids})
