"""Bytes from a keyboard, a serial line or a scanner, as keys, in whatever pieces they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.station.screen.keystrokes import Key, KeyDecoder, KeyKind


def decode(*pieces: bytes) -> list[Key]:
    decoder = KeyDecoder()
    keys = [key for piece in pieces for key in decoder.feed(piece)]
    return keys + decoder.settle()


@pytest.mark.parametrize(
    ("data", "kinds"),
    [
        (b"\r", "enter"),
        (b"\n", "enter"),
        (b"\t", "tab"),
        (b"\x7f", "backspace"),
        (b"\x08", "backspace"),
        (b"\x1b[3~", "delete"),
        (b"\x15", "delete"),
        (b"\x1b", "escape"),
        (b"\x1b\x1b", "escape escape"),
        (b"\x1b[A\x1b[B\x1b[C\x1b[D", "up down right left"),
        (b"\x1bOA\x1bOB\x1bOC\x1bOD", "up down right left"),
        (b"\x1b[1;2C", "right"),
        (b"\x1bOM", "enter"),
        (b"\x1b[[A\x1b[[B", ""),  # F1 and F2 on the console
        (b"\x1b[15~\x1b[1~\x1b[5~\x1b[E", ""),
        (b"\x03\x1a\x00\x13", ""),  # Ctrl-C ends nothing
        (b"\x1b7", "escape character"),
        (b"7\r", "character enter"),
    ],
)
def test_a_key_is_known_in_one_piece_and_byte_by_byte(data: bytes, kinds: str) -> None:
    expected = kinds.split()
    assert [key.kind.value for key in decode(data)] == expected
    assert [key.kind.value for key in decode(*(data[i : i + 1] for i in range(len(data))))] == expected


def test_a_number_pad_writes_digits_where_it_sends_sequences() -> None:
    keys = decode(b"".join(b"\x1bO" + bytes([letter]) for letter in b"pqrstuvwxy"))
    assert "".join(key.text for key in keys) == "0123456789"


def test_letters_of_any_alphabet_are_characters() -> None:
    assert [key.text for key in decode("aéж".encode())] == ["a", "é", "ж"]


@given(st.lists(st.binary(max_size=40), max_size=6))
def test_whatever_comes_no_key_holds_what_cannot_be_printed(pieces: list[bytes]) -> None:
    whole = decode(b"".join(pieces))
    assert whole == decode(*pieces)
    for key in whole:
        assert (key.kind is KeyKind.CHARACTER) == bool(key.text)
        assert key.text.isprintable()


def test_a_key_never_prints_what_was_typed() -> None:
    (key,) = decode(b"7")
    assert "7" not in repr(key)
    assert "7" not in f"{key}"
