"""Journals as they are written today: one document, with what each kind of action keeps of itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.repair_journal import ENTRY, JOURNAL

from unbrick.errors import NeedsHandsError
from unbrick.model import RunState
from unbrick.repair.journal.document import _check, encode, encode_line, load, parse, sound_line
from unbrick.repair.trust import JournalError

WHOLE = encode(JOURNAL)


def document() -> dict[str, Any]:
    line = sound_line(WHOLE)
    assert line is not None
    return load(line.text)


def with_change(change: Callable[[dict[str, Any]], None]) -> bytes:
    """A journal with a sound check over a document that we would not have written."""
    changed = document()
    change(changed)
    return encode_line(changed)


@pytest.mark.parametrize("state", [*RunState])
def test_what_is_written_is_read_again(state: RunState) -> None:
    journal = replace(JOURNAL, state=state)
    assert parse(encode(journal)) == journal


def test_an_entry_is_its_kind_and_what_that_keeps() -> None:
    (entry,) = document()["entries"]
    assert (entry["kind"], entry.keys()) == ("quarantine-file", {"kind", "data"})


@pytest.mark.parametrize("tail", [b"{", b"\0" * 600, b"\n\n", WHOLE])
def test_nothing_may_follow(tail: bytes) -> None:
    with pytest.raises(JournalError, match="too many lines"):
        parse(WHOLE + tail)


def test_one_that_is_cut_anywhere_is_none() -> None:
    assert [parse(WHOLE[:length]) for length in range(len(WHOLE))] == [None] * len(WHOLE)


def _set(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document[key] = value

    return change


def _set_entry(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["entries"][0][key] = value

    return change


def _set_data(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["entries"][0]["data"][key] = value

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("journal", 3),
        _set("journal", 2.0),
        _set("journal", True),
        _set("extra", 1),
        _set("run", "../../Windows"),
        _set("volume_was_dirty", 1),
        _set("state", "begun"),
        _set("state", ["repaired"]),
        _set("entries", []),
        _set("entries", {}),
        _set("entries", [1]),
        _set("begun", "yesterday"),
        _set("when", "yesterday"),
        _set_entry("kind", "delete-file"),
        _set_entry("kind", ["quarantine-file"]),
        _set_entry("data", None),
        _set_entry("data", []),
        _set_entry("extra", 1),
        _set_data("source", "\\Windows\\..\\Users\\a.sys"),
        _set_data("source", "C:\\Windows\\a.sys"),
        _set_data("source", "\\Windows\\\\a.sys"),
        _set_data("source", "Windows\\a.sys"),
        _set_data("source", "\\Windows\\a.sys:stream"),
        _set_data("source", "\\Windows\\\ud800.sys"),
        _set_data("quarantined_as", "..\\0001.bin"),
        _set_data("quarantined_as", "0001.bin\n"),
        _set_data("sha256", "AB" * 32),
        _set_data("size", -1),
        _set_data("size", True),
        _set_data("size", 1.0),
        _set_data("attributes", 0x400),
        _set_data("attributes", 0x10),
        _set_data("created", 2**63),
        _set_data("folder", None),
        _set_data("folder", {"created": 1, "modified": 1}),
        _set_data("folder", {"created": 1, "modified": 1, "accessed": -1}),
        _set_data("short_name", "not an 8.3 name"),
        _set_data("short_name", "..\\A.SYS"),
        _set_data("links", 0),
        _set_data("streams", ["\0"]),
        _set_data("streams", "Zone.Identifier"),
        _set_data("extra", 1),
    ],
)
def test_what_no_run_writes_is_refused_although_its_check_is_right(
    change: Callable[[dict[str, Any]], None],
) -> None:
    with pytest.raises(JournalError) as caught:
        parse(with_change(change))
    assert caught.value.reason == "bad-journal"


@pytest.mark.parametrize(
    "second",
    [replace(ENTRY, quarantined_as="0002.bin"), replace(ENTRY, source=f"{ENTRY.parent}\\other.sys")],
    ids=["file", "name"],
)
def test_a_file_or_a_name_twice_is_refused(second: Any) -> None:
    with pytest.raises(JournalError, match="twice"):
        parse(encode(replace(JOURNAL, entries=(ENTRY, second))))


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":1,"a":2}', b"[]", b"\xff", b"1" * 9999, b"NaN"])
def test_sound_lines_that_are_no_mapping(text: bytes) -> None:
    with pytest.raises(JournalError):
        parse(text + b"\t" + _check(text, "").encode() + b"\n")


def _many(count: int, longest: int) -> bytes:
    entries = tuple(
        replace(ENTRY, source=f"{ENTRY.parent}\\{number:0{longest}}.sys", quarantined_as=f"{number:04}.bin")
        for number in range(1, count + 1)
    )
    return encode(replace(JOURNAL, entries=entries))


def test_a_thousand_files_fit_and_what_would_not_is_never_written() -> None:
    journal = parse(_many(999, 200))
    assert journal is not None
    assert len(journal.entries) == 999
    for count, longest in ((999, 500), (1001, 8)):
        with pytest.raises(NeedsHandsError) as caught:
            _many(count, longest)
        assert caught.value.reason == "too-many-files"


@given(st.binary(max_size=400))
def test_any_bytes_raise_nothing_but_a_journal_error(data: bytes) -> None:
    with contextlib.suppress(JournalError):
        parse(data)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(sorted(document())), _JSON)
def test_any_value_in_the_document_raises_nothing_but_a_journal_error(key: str, value: object) -> None:
    with contextlib.suppress(JournalError):
        parse(with_change(_set(key, value)))


@given(st.sampled_from(["kind", "data"]), _JSON)
def test_any_value_in_an_entry_raises_nothing_but_a_journal_error(key: str, value: object) -> None:
    with contextlib.suppress(JournalError):
        parse(with_change(_set_entry(key, value)))


@given(st.sampled_from(sorted(ENTRY.to_data())), _JSON)
def test_any_value_in_a_files_data_raises_nothing_but_a_journal_error(key: str, value: object) -> None:
    with contextlib.suppress(JournalError):
        parse(with_change(_set_data(key, value)))


@given(st.integers(0, 5000), st.integers(0, 255))
def test_any_changed_byte_takes_the_journal_away(place: int, value: int) -> None:
    data = bytearray(WHOLE)
    data[place % len(data)] ^= value or 1
    with contextlib.suppress(JournalError):
        assert parse(bytes(data)) is None
