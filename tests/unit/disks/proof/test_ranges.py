"""Sets of numbers as ranges: the same as sets, and no larger for more numbers."""

from __future__ import annotations

import tracemalloc
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.disks.ntfs.structures import DATA
from unbrick.disks.proof import ownership
from unbrick.disks.proof.claims import Claim, Claims
from unbrick.disks.proof.ownership import ask, claimed_by_none, claimed_only_by
from unbrick.disks.proof.ranges import Range, common, flipped_bits, merged, without
from unbrick.errors import NeedsHandsError

RANGES = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8)
LARGE = 1 << 28  # clusters, of a terabyte
TABLE = cast(Any, SimpleNamespace(geometry=SimpleNamespace(cluster=4096)))


def numbers(ranges: list[Range]) -> set[int]:
    return {number for start, end in ranges for number in range(start, end)}


@given(RANGES, RANGES)
def test_they_are_sets(some: list[Range], others: list[Range]) -> None:
    one, other = merged(some), merged(others)
    assert numbers(one) == numbers(some)
    for found, expected in (
        (one, numbers(one)),
        (without(one, other), numbers(one) - numbers(other)),
        (common(one, other), numbers(one) & numbers(other)),
    ):
        assert numbers(found) == expected
        assert merged(found) == found


@given(st.binary(max_size=20) | st.just(bytes(1100)), st.binary(max_size=20) | st.just(b"\xff" * 1030))
def test_the_bits_that_differ_are_found(former: bytes, new: bytes) -> None:
    length = max(len(former), len(new))
    former, new = former.ljust(length, b"\0"), new.ljust(length, b"\0")
    differs = int.from_bytes(former, "little") ^ int.from_bytes(new, "little")
    assert numbers(list(flipped_bits(former, new))) == {
        bit for bit in range(length * 8) if differs >> bit & 1
    }


@pytest.mark.parametrize(
    ("claims", "right"),
    [
        ([Claim(40, DATA, 0, LARGE)], True),
        ([Claim(40, DATA, 0, 7), Claim(40, DATA, 7, LARGE)], True),
        ([Claim(40, DATA, 0, LARGE), Claim(41, DATA, LARGE - 1, LARGE + 5)], False),
        ([Claim(40, DATA, 0, LARGE - 1)], False),
        ([Claim(40, DATA, 0, LARGE), Claim(41, DATA, LARGE, LARGE + 5)], True),
    ],
)
def test_a_large_file_is_asked_about_in_one(
    monkeypatch: pytest.MonkeyPatch, claims: list[Claim], right: bool
) -> None:
    monkeypatch.setattr(ownership, "find_claims", lambda *_: Claims(claims))
    question = claimed_only_by(0, LARGE * 4096, 40, DATA)
    tracemalloc.start()
    try:
        if right:
            ask(TABLE, [question, claimed_by_none((LARGE + 9) * 4096, 4096)])
        else:
            with pytest.raises(NeedsHandsError):
                ask(TABLE, [question])
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_claims_without_end_are_not_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [Claim(number, DATA, 0, 10_000) for number in range(100, 10_100)]
    monkeypatch.setattr(ownership, "find_claims", lambda *_: Claims(claims))
    with pytest.raises(NeedsHandsError, match="many files"):
        ask(TABLE, [claimed_by_none(at * 4096, 4096) for at in range(0, 10_000, 2)])
