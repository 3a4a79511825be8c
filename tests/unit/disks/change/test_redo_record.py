"""The redo record: believed whole or not at all, whatever lies where one could be."""

from __future__ import annotations

import random
import struct
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.disks.change.redo_record import (
    SECTOR,
    Change,
    Redo,
    _seal,
    change_of,
    compare,
    decode,
    decode_head,
    encode,
)

CONTEXT = bytes(range(32))


def sectors(*letters: str) -> bytes:
    return b"".join(letter.encode() * SECTOR for letter in letters)


REDO = Redo(
    "20240719T061203Z-8f3a1c",
    True,
    (change_of(512, sectors("a", "b"), sectors("c", "d")), change_of(4096, sectors("e"), sectors("f"))),
)


def read(record: bytes) -> Redo | None:
    head = decode_head(record[:SECTOR])
    return None if head is None else decode(head, record[SECTOR : SECTOR + head.length])


def test_what_was_encoded_is_decoded() -> None:
    record = encode(REDO, CONTEXT)
    assert len(record) % SECTOR == 0
    assert read(record) == REDO
    head = decode_head(record[:SECTOR])
    assert head is not None
    assert head.context == CONTEXT


def test_only_what_differs_is_changed() -> None:
    former = sectors("a", "b", "c", "d", "e")
    data = sectors("a", "B", "C", "d", "E")
    found = tuple(compare(8192, former, data))
    expected = (
        change_of(8192 + 512, sectors("b", "c"), sectors("B", "C")),
        change_of(8192 + 2048, sectors("e"), sectors("E")),
    )
    assert found == expected
    assert tuple(compare(8192, former, former)) == ()


def test_a_record_of_which_any_sector_is_missing_is_none() -> None:
    noise = random.Random(1).randbytes(8 * SECTOR)
    record = encode(Redo("", False, (change_of(0, bytes(len(noise)), noise),)), CONTEXT)
    assert len(record) > 4 * SECTOR
    for at in range(0, len(record), SECTOR):
        torn = record[:at] + b"\xff" * SECTOR + record[at + SECTOR :]
        assert read(torn) is None


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (change_of(513, sectors("a"), sectors("b")),),
        (change_of(512, sectors("a"), sectors("b")), change_of(512, sectors("a"), sectors("b"))),
        (change_of(1024, sectors("a"), sectors("b")), change_of(512, sectors("a"), sectors("b"))),
        (change_of(512, sectors("a"), sectors("b")[:-1]),),
        (change_of(512, b"", b""),),
    ],
    ids=["nothing", "no sector", "twice", "backwards", "cut short", "empty"],
)
def test_changes_that_none_of_ours_are_say_nothing(changes: tuple[Change, ...]) -> None:
    assert read(encode(Redo("", False, changes), CONTEXT)) is None


@pytest.mark.parametrize(
    "plain",
    [struct.pack("<QI", 8192, 1 << 21), struct.pack("<QI", 8192, 0) * (1 << 16), bytes(5)],
    ids=["more sectors than there are", "changes of nothing", "half a number"],
)
def test_a_forged_number_takes_no_memory(plain: bytes) -> None:
    record = _seal(plain, "", False, CONTEXT)
    tracemalloc.start()
    try:
        assert read(record) is None
        assert tracemalloc.get_traced_memory()[1] < len(plain) + (4 << 20)
    finally:
        tracemalloc.stop()


@given(st.binary(min_size=SECTOR, max_size=SECTOR))
def test_no_other_sector_is_a_head(sector: bytes) -> None:
    assert decode_head(sector) is None


@given(st.integers(0, 8 * SECTOR - 1), st.integers(1, 255))
def test_one_byte_that_is_another_is_noticed(at: int, other: int) -> None:
    record = bytearray(encode(REDO, CONTEXT))
    at %= len(record)
    record[at] ^= other
    found = read(bytes(record))
    # Behind the head's own digest the first sector is blank.
    assert found is None or (found == REDO and at < SECTOR)
