"""Events are canonical, identified by their bytes, and parsed as hostile."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.event import MOST_BYTES, Event, EventError, EventKind, canonical_json, moment, parse_event
from unbrick.model import Machine

RUN = "20240719T061203Z-8f3a1c"
AT = "2024-07-19T06:12:03.000001Z"
GUID = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
EVENT = Event(
    RUN,
    7,
    EventKind.FOUND.value,
    AT,
    step="diagnose",
    machine=Machine(GUID, "SN-1", GUID, ("WARD-1", "STATION-2")),
    site="st-marys",
    details={"playbook": "crowdstrike-cf291", "files": [{"path": "\\Windows\\a.sys", "size": 0}]},
)


def changed(**fields: Any) -> bytes:
    return canonical_json(json.loads(EVENT.to_bytes()) | fields)


def test_an_event_comes_back_as_it_was() -> None:
    assert parse_event(EVENT.to_bytes()) == EVENT
    assert parse_event(EVENT.to_bytes()).to_bytes() == EVENT.to_bytes()


def test_the_canonical_bytes_never_change_their_form() -> None:
    small = Event(RUN, 1, "note", AT, details={"b": "ü", "a": 1})
    assert small.to_bytes().decode() == (
        '{"at":"2024-07-19T06:12:03.000001Z","details":{"a":1,"b":"ü"},"kind":"note",'
        '"machine":{"disk_guid":null,"hostnames":[],"serial":null,"smbios_uuid":null},'
        '"run":"20240719T061203Z-8f3a1c","schema":1,"sequence":1,"site":null,"step":null}'
    )
    assert small.id == hashlib.sha256(small.to_bytes()).hexdigest()


@pytest.mark.parametrize(
    "fields",
    [
        {"schema": 0},
        {"schema": True},
        {"schema": "1"},
        {"sequence": 0},
        {"sequence": 100_001},
        {"sequence": True},
        {"sequence": None},
        {"run": "20240719T061203Z-8F3A1C"},
        {"run": RUN + "\n"},
        {"run": "../../20240719T061203Z-8f3a1c"},
        {"kind": ""},
        {"kind": "Found"},
        {"kind": None},
        {"step": "two words"},
        {"at": "2024-07-19T06:12:03Z"},
        {"at": "2024-13-19T06:12:03.000001Z"},
        {"at": "٢٠٢٤-07-19T06:12:03.000001Z"},
        {"site": "St Mary's"},
        {"details": []},
        {"details": None},
        {"details": {"deep": [[[[[[1]]]]]]}},
        {"details": {"text": "x" * 4097}},
        {"details": {"number": 2**63}},
        {"details": {"many": [0] * 1001}},
        {"details": {"x" * 4097: 1}},
        {"machine": None},
        {"machine": {"smbios_uuid": None, "serial": None, "disk_guid": None}},
        {"extra": 1},
    ],
)
def test_what_is_no_event_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(EventError):
        parse_event(changed(**fields))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("smbios_uuid", GUID.lower()),
        ("smbios_uuid", 1),
        ("disk_guid", "nonsense"),
        ("serial", ""),
        ("serial", "x" * 65),
        ("serial", "tab\there"),
        ("hostnames", "WARD-1"),
        ("hostnames", ["x"] * 17),
        ("hostnames", ["\x1b[2J"]),
        ("hostnames", [None]),
        ("colour", "red"),
    ],
)
def test_a_machine_of_the_wrong_shape_is_refused(key: str, value: Any) -> None:
    machine = json.loads(EVENT.to_bytes())["machine"] | {key: value}
    with pytest.raises(EventError):
        parse_event(changed(machine=machine))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"\xff",
        b"{}",
        b"[" * 60_000,
        b"1" * 60_000,
        b" " + EVENT.to_bytes(),
        EVENT.to_bytes() + b"\n",
        EVENT.to_bytes().replace(b'"sequence":7', b'"sequence":7.0'),
        EVENT.to_bytes().replace(b'"sequence":7', b'"sequence":NaN'),
        EVENT.to_bytes().replace(b'"sequence":7', b'"sequence":7,"sequence":7'),
        EVENT.to_bytes().replace(b"WARD-1", b"\\u0057ARD-1"),
        EVENT.to_bytes().replace(b"WARD-1", b"\\ud800"),
        b"x" * (MOST_BYTES + 1),
    ],
)
def test_bytes_that_are_no_canonical_event_are_refused(data: bytes) -> None:
    with pytest.raises(EventError):
        parse_event(data)


def test_an_older_tally_reads_the_envelope_of_a_newer_event() -> None:
    machine = json.loads(EVENT.to_bytes())["machine"] | {"asset_tag": "A-1"}
    event = parse_event(changed(schema=2, machine=machine, colour="red", kind="teleported"))
    assert (event.schema, event.kind, event.run, event.sequence) == (2, "teleported", RUN, 7)
    assert event.machine == EVENT.machine


def test_times_are_told_in_utc_to_the_microsecond() -> None:
    at = datetime(2024, 7, 19, 8, 0, tzinfo=timezone(timedelta(hours=2)))
    assert moment(at) == "2024-07-19T06:00:00.000000Z"
    assert parse_event(changed(at=moment(datetime(2009, 1, 1, tzinfo=UTC)))).at.startswith("2009-01-01")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=20,
)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_raise_nothing_but_ours(data: bytes) -> None:
    with pytest.raises(EventError):
        parse_event(data)


@given(st.sampled_from(sorted(json.loads(EVENT.to_bytes()))), JSON)
def test_an_arbitrary_field_raises_nothing_but_ours(key: str, value: Any) -> None:
    document = json.loads(EVENT.to_bytes()) | {key: value}
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    try:
        event = parse_event(data.encode(errors="surrogatepass"))
    except EventError:
        return
    assert event.schema != 1 or event.to_bytes() == data.encode()


@given(st.integers(0, len(EVENT.to_bytes()) - 1), st.binary(max_size=3))
def test_a_torn_or_overwritten_event_raises_nothing_but_ours(at: int, by: bytes) -> None:
    data = EVENT.to_bytes()
    for hurt in (data[:at], data[:at] + by + data[at + len(by) :], data[:at] + by + data[at:]):
        try:
            assert parse_event(hurt).to_bytes() == hurt
        except EventError:
            continue
