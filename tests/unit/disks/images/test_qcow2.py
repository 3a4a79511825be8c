"""A qcow2 header that would keep us busy for hours."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest

from unbrick.disks.images.qcow2 import read_qcow2
from unbrick.disks.raw_view import RawView
from unbrick.errors import NeedsHandsError

CLUSTER = 2 << 20
TABLE = 8 << 20


class _Counted(io.BytesIO):
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.total += size or 0
        assert self.total < 4 << 30
        return super().read(size)


def test_reference_counts_that_are_never_done_are_refused() -> None:
    counts = CLUSTER + TABLE
    header = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, 21, 1 << 30, 0, 1, 512, CLUSTER, TABLE // CLUSTER, 0, 0
    )
    table = struct.pack(">Q", counts) * (TABLE // 8)  # a million times the same, and none of them in use
    image = header.ljust(CLUSTER, b"\0") + table + bytes(CLUSTER)
    view = RawView(_Counted(image), len(image), "image")
    with pytest.raises(NeedsHandsError, match="unused clusters") as caught:
        read_qcow2(view, Path("image.qcow2"))
    assert caught.value.reason == "image-unsafe"
