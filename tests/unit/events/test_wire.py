"""Frames: whole or refused, however their bytes arrive, and never by anything but our own error."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.wire import (
    LONGEST_ASK_SECONDS,
    MOST_ASK_BYTES,
    MOST_EVENTS_IN_A_FRAME,
    MOST_FRAME_BYTES,
    MOST_PAYLOAD_BYTES,
    Answer,
    Ask,
    FrameReader,
    SignedEvent,
    WireError,
    answer_of,
    ask_of,
    chosen_protocol,
    encode_frame,
    events_of,
    ids_of,
    payload_bytes,
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
    readings: list[tuple[Callable[[Any], object], Any]] = [
        (signed_event, document),
        (events_of, {"events": events}),
        (ids_of, {"ids": ids}),
        (chosen_protocol, {"protocol": document, "highest": ids}),
        (ask_of, {"id": ids, "kind": "echo", "seconds": 5, "payload": document}),
        (ask_of, {"id": 1, "kind": ids, "seconds": document, "payload": {}}),
        (answer_of, {"id": 1, "payload": document}),
        (answer_of, {"id": 1, "error": document, "text": ids}),
    ]
    for read, message in readings:
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


NO_NUMBERS: list[Any] = [True, 1.0, "1", None, [1], {"1": 1}]
NO_PROTOCOLS: list[dict[str, Any]] = [
    *({"protocol": wrong} for wrong in NO_NUMBERS),
    *({"protocol": 1, "highest": wrong} for wrong in NO_NUMBERS),
    {},
    {"highest": 2},
    {"protocol": 0},
    {"protocol": 3},
    {"protocol": 3, "highest": 9},
    {"protocol": 2, "highest": 1},
]


@pytest.mark.parametrize(
    ("hello", "chosen"),
    [
        ({"protocol": 1}, 1),
        ({"protocol": 1, "highest": 1}, 1),
        ({"protocol": 1, "highest": 2}, 2),
        ({"protocol": 1, "highest": 99}, 2),
        ({"protocol": 2}, 2),
        ({"protocol": 2, "highest": 7}, 2),
        ({"protocol": -5, "highest": 2**80}, 2),
        *((hello, None) for hello in NO_PROTOCOLS),
    ],
)
def test_the_highest_protocol_that_both_speak_is_chosen(hello: dict[str, Any], chosen: int | None) -> None:
    assert chosen_protocol(hello) == chosen


ASK = {"type": "ask", "id": 7, "kind": "echo", "seconds": 20, "payload": {"text": "a"}}


def test_an_ask_and_its_answers_are_read_as_they_were_said() -> None:
    ask = Ask(7, "echo", 20, b'{"text":"a"}')
    assert (ask_of(ASK), ask.to_message(), ask.payload) == (ask, ASK, {"text": "a"})
    for answer in (Answer(b'{"text":"a"}'), Answer(error="unknown-kind", text="what?")):
        (message,) = FrameReader().feed(encode_frame(answer.to_message(7)))
        assert answer_of(message) == (7, answer)


WRONG_ASKS: dict[str, list[Any]] = {
    "id": [*NO_NUMBERS, 0, -1, 2**53],
    "kind": ["", "Echo", "-x", "a" * 33, "a b", "echo\n", 1, None, ["echo"]],
    "seconds": [*NO_NUMBERS, 0, -1, LONGEST_ASK_SECONDS + 1, 1.5],
    "payload": [
        *([], "x", None, 1),
        {"x": json.loads('"\\ud800"')},
        {"x": float("nan")},
        {"x": "a" * MOST_PAYLOAD_BYTES},
    ],
}


@pytest.mark.parametrize("name", WRONG_ASKS)
def test_an_ask_of_another_shape_is_refused(name: str) -> None:
    for wrong in WRONG_ASKS[name]:
        with pytest.raises(WireError):
            ask_of({**ASK, name: wrong})


def test_answers_of_another_shape_are_refused() -> None:
    good: dict[str, Any] = {"type": "answer", "id": 7, "payload": {}}
    changes: list[dict[str, Any]] = [{"id": "7"}, {"payload": []}, {"error": 1}, {"error": "A b"}]
    for change in (*changes, {"error": "x", "text": 1}):
        with pytest.raises(WireError):
            answer_of(good | change)


def test_a_payload_nested_beyond_reason_is_refused() -> None:
    nested: dict[str, Any] = {}
    for _ in range(100_000):
        nested = {"a": nested}
    with pytest.raises(WireError):
        payload_bytes(nested)
    while nested:  # or letting go of it would nest as deep
        nested = nested.pop("a")


def test_the_largest_ask_fits_into_its_frame() -> None:
    body = payload_bytes({"x": "a" * (MOST_PAYLOAD_BYTES - len('{"x":""}'))})
    ask = Ask(2**53 - 1, "k" * 32, LONGEST_ASK_SECONDS, body)
    assert MOST_PAYLOAD_BYTES < len(encode_frame(ask.to_message())) < MOST_ASK_BYTES
    assert ask_of(ask.to_message()) == ask


def test_nothing_that_is_asked_or_answered_is_shown_by_accident() -> None:
    ask, answer = ask_of(ASK | {"payload": {"key": "s3cret"}}), Answer(b'{"key":"s3cret"}')
    assert "s3cret" not in f"{ask!r} {answer!r} {[ask, answer]}"
    with pytest.raises(WireError) as caught:
        payload_bytes({"s3cret": {1, 2}})
    assert "s3cret" not in f"{caught.value} {caught.value.__cause__!r}"
