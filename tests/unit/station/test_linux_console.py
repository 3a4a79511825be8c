"""Larger letters for the console: every dot becomes so many; on anything else nothing happens."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st

from unbrick.station.linux_console import Font, enlarged, is_linux_console, prepare


def dots(font: Font, number: int) -> list[str]:
    """A glyph as rows of 0 and 1."""
    row = (font.width + 7) // 8
    glyph = font.glyphs[number]
    return [
        f"{int.from_bytes(glyph[start : start + row]):0{row * 8}b}" for start in range(0, len(glyph), row)
    ]


@given(st.integers(1, 16), st.integers(1, 16), st.integers(1, 4), st.randoms())
def test_every_dot_is_so_many_times_as_wide_and_high(
    width: int, height: int, times: int, dice: object
) -> None:
    row = (width + 7) // 8
    mask = ((1 << width) - 1) << (row * 8 - width)
    rows = [
        (dice.getrandbits(row * 8) & mask).to_bytes(row)  # type: ignore[attr-defined]
        for _ in range(height)
    ]
    font = Font(width, height, (b"".join(rows),))
    large = enlarged(font, times)
    assert (large.width, large.height) == (width * times, height * times)
    expected = ["".join(dot * times for dot in line[:width]) for line in dots(font, 0) for _ in range(times)]
    assert [line[: width * times] for line in dots(large, 0)] == expected
    assert not any("1" in line[width * times :] for line in dots(large, 0)), "the padding stays empty"


def test_a_pseudo_terminal_is_no_console_and_takes_no_harm() -> None:
    master, descriptor = os.openpty()
    try:
        assert not is_linux_console(descriptor)
        prepare(descriptor, 240, 67)
    finally:
        os.close(master)
        os.close(descriptor)
