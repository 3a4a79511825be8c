"""Journals of version 1 are read as they were, and as strictly."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.repair_journal import JOURNAL, MOMENT, version1, version1_header

from unbrick.model import RunState
from unbrick.repair.journal.document import MOST_BYTES, _check
from unbrick.repair.journal.file import parse
from unbrick.repair.journal.version1 import mark
from unbrick.repair.trust import JournalError


def with_header(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A journal with a sound check over a header that we would not have written."""
    document = version1_header()
    change(document)
    return version1(RunState.REPAIRED, header=document)


def test_what_is_written_is_read_again() -> None:
    assert parse(version1(RunState.REPAIRED)) == JOURNAL
    undone = replace(JOURNAL, state=RunState.UNDONE)
    assert parse(version1(RunState.REPAIRED, RunState.UNDONE)) == undone
    assert mark(version1(RunState.REPAIRED), RunState.UNDONE, MOMENT) == version1(
        RunState.REPAIRED, RunState.UNDONE
    )


@pytest.mark.parametrize("tail", [b"", b"{", b"\0" * 600, b"\n\n", b'{"mark":"undone"}\tdeadbeefdeadbeef\n'])
def test_what_follows_the_last_sound_line_is_ignored(tail: bytes) -> None:
    whole = version1(RunState.REPAIRED)
    assert parse(whole + tail) == JOURNAL
    assert mark(whole + tail, RunState.UNDONE, MOMENT) == version1(RunState.REPAIRED, RunState.UNDONE)


def test_a_journal_cut_anywhere_is_none_or_not_believed_or_tells_of_the_repair() -> None:
    header, repaired = len(version1()), len(version1(RunState.REPAIRED))
    whole = version1(RunState.REPAIRED, RunState.UNDONE)
    for length in range(len(whole)):
        if length < header:
            assert parse(whole[:length]) is None
        elif length < repaired:
            with pytest.raises(JournalError, match="did not come to its end"):
                parse(whole[:length])
        else:
            read = parse(whole[:length])
            assert read is not None
            assert read.state is RunState.REPAIRED


def test_a_line_of_another_journal_does_not_fit() -> None:
    other = version1_header(replace(JOURNAL, volume_was_dirty=False))
    line = version1(RunState.REPAIRED, header=other).splitlines(keepends=True)[1]
    with pytest.raises(JournalError, match="did not come to its end"):
        parse(version1() + line)


@pytest.mark.parametrize(
    "states",
    [(RunState.UNDONE,), (RunState.REPAIRED, RunState.REPAIRED), (RunState.UNDONE, RunState.REPAIRED)],
)
def test_states_in_an_order_that_no_run_has(states: tuple[RunState, ...]) -> None:
    with pytest.raises(JournalError, match="in no order"):
        parse(version1(*states))


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document[key] = value

    return change


def _set_entry(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["entries"][0][key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("journal", 2),
        _set("journal", True),
        _set("extra", 1),
        _set_entry("folder", {"created": 1, "modified": 1, "accessed": 1}),
        _set("run", "../../Windows"),
        _set("volume_was_dirty", 1),
        _set("entries", []),
        _set("entries", {}),
        _set("folders", []),
        _set("begun", "yesterday"),
        _set_entry("source", "\\Windows\\..\\Users\\a.sys"),
        _set_entry("source", "C:\\Windows\\a.sys"),
        _set_entry("source", "\\Windows\\\\a.sys"),
        _set_entry("source", "Windows\\a.sys"),
        _set_entry("source", "\\Windows\\a.sys:stream"),
        _set_entry("source", "\\Windows\\\ud800.sys"),
        _set_entry("quarantined_as", "..\\0001.bin"),
        _set_entry("quarantined_as", "0001.bin\n"),
        _set_entry("sha256", "AB" * 32),
        _set_entry("size", -1),
        _set_entry("size", True),
        _set_entry("size", 1.0),
        _set_entry("attributes", 0x400),
        _set_entry("attributes", 0x10),
        _set_entry("created", 2**63),
        _set_entry("short_name", "not an 8.3 name"),
        _set_entry("short_name", "..\\A.SYS"),
        _set_entry("links", 0),
        _set_entry("streams", ["\0"]),
        _set_entry("streams", "Zone.Identifier"),
    ],
)
def test_what_no_run_writes_is_refused_although_its_check_is_right(
    change: Callable[[dict[str, Any]], None],
) -> None:
    with pytest.raises(JournalError) as caught:
        parse(with_header(change))
    assert caught.value.reason == "bad-journal"


def test_a_file_twice_is_refused() -> None:
    def double(document: dict[str, Any]) -> None:
        document["entries"].append({**document["entries"][0], "quarantined_as": "0002.bin"})

    with pytest.raises(JournalError, match="twice"):
        parse(with_header(double))


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":1,"a":2}', b"[]", b"\xff", b"1" * 9999, b"NaN"])
def test_sound_lines_that_are_no_mapping(text: bytes) -> None:
    with pytest.raises(JournalError):
        parse(text + b"\t" + _check(text, "").encode() + b"\n")


def test_too_large_is_refused_before_it_is_read() -> None:
    with pytest.raises(JournalError, match="too large"):
        parse(b"x" * (MOST_BYTES + 1))


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(JournalError, match="too many lines"):
        parse(version1(RunState.REPAIRED, RunState.UNDONE, RunState.REPAIRED))


@given(st.binary(max_size=400))
def test_any_bytes_raise_nothing_but_a_journal_error(data: bytes) -> None:
    with contextlib.suppress(JournalError):
        parse(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(version1_header())), _JSON)
def test_any_value_in_the_header_raises_nothing_but_a_journal_error(key: str, value: object) -> None:
    with contextlib.suppress(JournalError):
        parse(with_header(_set(key, value)))


@given(st.sampled_from(sorted(version1_header()["entries"][0])), _JSON)
def test_any_value_in_an_entry_raises_nothing_but_a_journal_error(key: str, value: object) -> None:
    with contextlib.suppress(JournalError):
        parse(with_header(_set_entry(key, value)))


@given(st.integers(0, 5000), st.integers(0, 255))
def test_any_changed_byte_takes_its_line_away_or_is_refused(place: int, value: int) -> None:
    data = bytearray(version1(RunState.REPAIRED, RunState.UNDONE))
    data[place % len(data)] ^= value or 1
    with contextlib.suppress(JournalError):
        read = parse(bytes(data))
        assert read is None or read == JOURNAL
