"""The window on a disk's bytes: clipped, and its failures are ours."""

from __future__ import annotations

import io

import pytest

from unbrick.disks.raw_view import RawView
from unbrick.errors import FailedError


class _BadSector(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(5, "Input/output error")


class _Dribble(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 0, 3))


def test_reads_are_clipped_to_the_window() -> None:
    view = RawView(io.BytesIO(bytes(range(100))), 100, "disk")
    inner = view.window(10, 20)
    assert inner.read(0, 4) == bytes([10, 11, 12, 13])
    assert inner.read(18, 100) == bytes([28, 29])
    assert inner.read(20, 1) == b""
    assert inner.read(-5, 10) == b""
    assert view.window(90, 50).size == 10
    assert view.window(200, 50).size == 0


def test_short_reads_are_put_together() -> None:
    assert RawView(_Dribble(bytes(range(50))), 50, "disk").read(0, 50) == bytes(range(50))


def test_an_input_output_error_is_named() -> None:
    with pytest.raises(FailedError, match="sda: reading at byte 512 failed") as caught:
        RawView(_BadSector(), 4096, "sda").read(512, 512)
    assert caught.value.reason == "unreadable-disk"


def test_an_absurd_length_is_a_mistake_of_ours() -> None:
    with pytest.raises(ValueError, match="single read"):
        RawView(io.BytesIO(), 1 << 60, "disk").read(0, 1 << 40)
