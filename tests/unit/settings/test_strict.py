"""JSON of ours: read into types, bounded, and whatever is in it nothing but our own error comes out."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.settings.strict import (
    Form,
    ScalarKind,
    Shape,
    StrictError,
    number,
    parse_json,
    read_json,
    read_yaml,
)

Word = Annotated[str, Shape("a word of small letters", "^[a-z]+$")]
FORM = Form("a list of boxes", "pack it again", most_bytes=4096)


@dataclass(frozen=True)
class Box:
    name: Word
    sizes: tuple[Annotated[int, number("a size", 0, 9)], ...]
    corner: tuple[Word, Word] | None = None
    full: Annotated[bool, Shape("true or false", kind=ScalarKind.FLAG)] = False


@dataclass(frozen=True)
class Boxes:
    boxes: Mapping[str, Box]
    owner: Word | None = None


def _read(document: Any) -> Boxes:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_json(Boxes, data, "boxes.json", FORM)


def test_json_is_read_into_types_and_null_is_a_key_that_is_not_given() -> None:
    boxes = {"a b": {"name": "red", "sizes": [0, 9], "corner": ["left", "top"], "full": True}}
    assert _read({"boxes": boxes, "owner": None}) == Boxes({"a b": Box("red", (0, 9), ("left", "top"), True)})


def test_a_key_that_a_newer_unbrick_wrote_is_passed_over() -> None:
    assert _read({"boxes": {}, "colour": "red"}) == Boxes({})


def test_every_fault_in_json_is_told_at_once_with_its_place() -> None:
    wrong = {"name": "red\n", "sizes": [1, "1", 10, True, 1.0], "corner": ["left"], "full": "true"}
    with pytest.raises(StrictError) as caught:
        _read({"boxes": {"x": wrong, "y": {}}, "owner": 5})
    assert [one.message for one in caught.value.problems] == [
        "boxes.x.name: expected a word of small letters, not 'red?'",
        "boxes.x.sizes[1]: expected a size, not '1'",
        "boxes.x.sizes[2]: expected a size, not '10'",
        "boxes.x.sizes[3]: expected a size, not 'true'",
        "boxes.x.sizes[4]: expected a size, not '1.0'",
        "boxes.x.corner: expected a list of 2 to 2, not of 1",
        "boxes.x.full: expected true or false, not 'true'",
        "boxes.y: expected the key 'name', which is missing",
        "boxes.y: expected the key 'sizes', which is missing",
        "owner: expected a word of small letters, not '5'",
    ]
    assert caught.value.message.startswith("boxes.json: boxes.x.name: expected a word")
    assert caught.value.hint == "pack it again"


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "boxes.json:1: expected JSON: "),
        (b'{"boxes":\n{', "boxes.json:2: expected JSON: "),
        (b'{"boxes": {}, "boxes": {}}', "boxes.json: expected JSON: a key is given twice"),
        (b'{"boxes": NaN}', "boxes.json: expected JSON: NaN is no number"),
        (b'{"boxes": ' + b"9" * 4000 + b"9" * 4000 + b"}", "boxes.json: expected JSON: more than 4096 bytes"),
        (b"[" * 4000, "boxes.json: expected JSON: "),
        (b"[" * 1000 + b"]" * 1000, "boxes.json: "),
        (b"\xff", "boxes.json: expected JSON: "),
        (b"[]", "boxes.json: a list of boxes: expected a mapping of keys, not an empty list"),
    ],
)
def test_what_is_no_json_of_ours_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(StrictError) as caught:
        _read(data)
    assert caught.value.message.startswith(said)


@given(st.binary(max_size=60) | st.text('{}[]",:0123456789truefalsnboxesnam. ', max_size=60).map(str.encode))
def test_any_bytes_raise_nothing_but_ours(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        parse_json(data)
    for read in (read_json, read_yaml):
        with contextlib.suppress(StrictError):
            read(Boxes, data, "any", FORM)


def test_a_table_with_any_keys_names_a_bad_one_safely() -> None:
    with pytest.raises(StrictError) as caught:
        _read({"boxes": {"\x1b[2J" + "x" * 100: 5}})
    assert caught.value.problems[0].message == (f"boxes.?[2J{'x' * 56}: expected a mapping of keys, not '5'")
