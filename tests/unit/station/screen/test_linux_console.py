"""Larger letters for the console: every dot becomes so many; on anything else nothing happens."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.station.screen.linux_console import Font, enlarged, is_linux_console, prepare


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


class Console:
    """The kernel's side of the requests, as drivers/tty/vt/vt.c (6.12) and kd.h have them."""

    SET, GET, SET_TALL, GET_TALL = 0, 1, 4, 5

    def __init__(self, width: int, height: int, *, knows_tall: bool) -> None:
        self.width, self.height, self.knows_tall = width, height, knows_tall
        row = (width + 7) // 8
        self.glyphs = [bytes([number % 256]) * row * height for number in range(256)]
        self.palette = bytes(48)
        self.locks = self.lights = -1

    def ioctl(self, _: int, request: int, argument: object = 0) -> int:
        if request == 0x4B72 and isinstance(argument, bytes | bytearray):
            self._font(argument)
        elif request == 0x4B71 and isinstance(argument, bytes):
            self.palette = argument
        elif request == 0x4B65 and isinstance(argument, int):
            self.locks = argument
        elif request == 0x4B32 and isinstance(argument, int):
            self.lights = argument
        return 0

    def _font(self, argument: bytes | bytearray) -> None:
        request, flags, width, height, count, address = struct.unpack("@5IP", argument)
        if request in {self.SET_TALL, self.GET_TALL} and not self.knows_tall:
            raise OSError(errno.EINVAL, "no such request")
        pitch = height if request in {self.SET_TALL, self.GET_TALL} else 32
        row = (self.width + 7) // 8
        if request in {self.GET, self.GET_TALL}:
            assert isinstance(argument, bytearray)
            if self.width > width or self.height > height or len(self.glyphs) > count:
                raise OSError(errno.ENOSPC, "no room")
            data = b"".join(glyph.ljust(pitch * row, b"\0") for glyph in self.glyphs)
            ctypes.memmove(address, data, len(data))
            argument[:] = struct.pack(
                "@5IP", request, flags, self.width, self.height, len(self.glyphs), address
            )
            return
        if not 0 < width <= 64 or height > pitch:
            raise OSError(errno.EINVAL, "no such font")
        self.width, self.height = width, height
        row = (width + 7) // 8
        data = ctypes.string_at(address, pitch * row * count)
        self.glyphs = [data[start : start + height * row] for start in range(0, len(data), pitch * row)]


@pytest.mark.parametrize(
    ("columns", "rows", "knows_tall", "times"),
    [
        (80, 25, True, 1),
        (128, 48, True, 1),
        (160, 50, True, 2),
        (240, 67, True, 2),
        (240, 67, False, 2),
        (480, 135, True, 5),
        (480, 135, False, 2),
    ],
)
def test_letters_grow_as_far_as_80_by_25_and_the_kernel_allow(
    columns: int, rows: int, knows_tall: bool, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    console = Console(8, 16, knows_tall=knows_tall)
    monkeypatch.setattr("fcntl.ioctl", console.ioctl)
    before = Font(8, 16, tuple(console.glyphs))
    prepare(0, columns, rows)
    assert (console.width, console.height) == (8 * times, 16 * times)
    assert console.glyphs == list(enlarged(before, times).glyphs)


def test_a_large_letter_of_the_kernels_own_is_not_made_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(16, 32, knows_tall=True)
    monkeypatch.setattr("fcntl.ioctl", console.ioctl)
    prepare(0, 240, 67)
    assert (console.width, console.height) == (32, 64)


def test_num_lock_is_on_without_its_light_and_the_colours_are_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(8, 16, knows_tall=True)
    monkeypatch.setattr("fcntl.ioctl", console.ioctl)
    prepare(0, 80, 25)
    assert (console.locks, console.lights) == (2, 0)
    assert console.palette[9:12] == bytes([0xFF, 0xB4, 0x00])
    assert console.palette[:3] == bytes(3), "black stays black"
