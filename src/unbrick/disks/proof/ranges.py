"""Sets of numbers as sorted, separate ranges (first, end): clusters come by the million. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

Range = tuple[int, int]

_PIECE = 512


def merged(ranges: Iterable[Range]) -> list[Range]:
    """Any ranges as a set: sorted, and joined where they overlap or touch."""
    found: list[Range] = []
    for start, end in sorted(ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(end, found[-1][1]))
        else:
            found.append((start, end))
    return found


def without(one: Iterable[Range], other: Iterable[Range]) -> list[Range]:
    """The numbers in one set that are not in the other."""
    found: list[Range] = []
    taken = iter(other)
    now = next(taken, None)
    for start, end in one:
        while now is not None and now[1] <= start:
            now = next(taken, None)
        while now is not None and now[0] < end:
            if start < now[0]:
                found.append((start, now[0]))
            start = now[1]
            if start >= end:
                break
            now = next(taken, None)
        if start < end:
            found.append((start, end))
    return found


def common(one: Iterable[Range], other: Iterable[Range]) -> list[Range]:
    """The numbers in both sets."""
    first = list(one)
    return without(first, without(first, other))


def flipped_bits(former: bytes, new: bytes) -> Iterator[Range]:
    """The numbers of the bits in which two bitmaps of one length differ; neighbours may not be joined."""
    for at in range(0, len(new), _PIECE):
        one, other = former[at : at + _PIECE], new[at : at + _PIECE]
        if one == other:
            continue
        bits = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
        start = at * 8
        while bits:
            same = (bits & -bits).bit_length() - 1
            bits >>= same
            differ = (~bits & (bits + 1)).bit_length() - 1
            bits >>= differ
            yield start + same, start + same + differ
            start += same + differ
