"""Whatever a hostile disk names, the event about it can be sent, is short, and names no person."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.event import Event, EventKind, parse_event
from unbrick.events.facts import plain_machine, short_facts
from unbrick.model import Machine
from unbrick.report.recorder import Recorder

RUN = "20240719T061203Z-8f3a1c"


def test_ordinary_facts_are_told_as_they_are() -> None:
    facts = {"playbook": "crowdstrike-cf291", "partition": 3, "files": [{"path": "\\Windows\\x", "size": 0}]}
    assert short_facts(facts | {"nothing": None}) == facts


def test_a_profile_path_is_told_without_whose_it_is() -> None:
    for path in (
        "\\Users\\anna\\x.sys",
        "C:\\users\\anna",
        "\\Documents and Settings\\anna\\a",
        "/home/anna/x",
    ):
        told = short_facts({"files": [{"path": path}]})
        assert "anna" not in str(told)
        assert told["files"][0]["path"].endswith("…")


def test_what_is_too_long_is_cut_and_says_so() -> None:
    told = short_facts({"path": "x" * 5000, "files": [{"path": "ü" * 5000}] * 5000})
    assert told["path"].endswith("…")
    assert len(told["path"]) == 400
    assert 0 < len(told["files"]) <= 64
    assert parse_event(Event(RUN, 1, "note", "2024-07-19T06:12:03.000001Z", details=told).to_bytes())


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.binary() | st.text() | st.just("\ud800"),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=30,
)


@given(
    st.dictionaries(st.text(), ANYTHING), st.lists(st.text(), max_size=40), st.text(), st.text(), st.text()
)
def test_every_recorded_event_can_be_read_by_the_tally(
    details: dict[str, Any], names: list[str], uuid: str, serial: str, guid: str
) -> None:
    heard: list[Event] = []
    recorder = Recorder(RUN, [heard.append], site="st-marys")
    recorder.identify(Machine(uuid, serial, guid, tuple(names)))
    recorder.tell(EventKind.NOTE, None, **{f"a{key}": value for key, value in details.items()})
    (event,) = heard
    assert parse_event(event.to_bytes()).id == event.id


def test_a_machine_keeps_what_is_valid() -> None:
    guid = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
    machine = Machine(guid, "SN-1", guid, ("WARD-1",))
    assert plain_machine(machine) == machine
    assert plain_machine(Machine("0" * 32, "None", "?", ("", "A\x1b[2J", "A[2J"))) == Machine(
        hostnames=("A[2J",)
    )
