"""The table of a stick: sgdisk is the judge, and nothing else of the image changes."""

from __future__ import annotations

import io
import re
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.small_image import MIB, make_image

from unbrick.errors import UsageError
from unbrick.media.stick.layout import HEAD_BYTES, StickLayout, find_differences, plan_stick


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_image(tmp_path_factory.mktemp("image") / "unbrick.iso")


def lay_out(image: Path, stick: Path, disk_size: int) -> StickLayout:
    data = image.read_bytes()
    layout = plan_stick(data[:HEAD_BYTES], len(data), disk_size)
    with stick.open("wb") as stream:
        stream.truncate(disk_size)
        stream.write(data)
        for offset, piece in layout.pieces:
            stream.seek(offset)
            stream.write(piece)
    return layout


def listed(stick: Path) -> str:
    return subprocess.run(["sgdisk", "-v", "-p", stick], capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("size", [80 * MIB, 200 * MIB + 512 * 77, 2048 * MIB, 64 * 1024 * MIB, 3 << 40])
def test_sgdisk_finds_no_fault_and_one_partition_more(image: Path, tmp_path: Path, size: int) -> None:
    before = listed(image)
    layout = lay_out(image, tmp_path / "stick", size)
    after = listed(tmp_path / "stick")
    assert "No problems found" in after
    assert "protective" not in after.lower()
    lines = re.findall(r"^ +(\d+) +(\d+) +(\d+) .*? ([0-9A-F]{4})  (.*)$", after, re.MULTILINE)
    old = re.findall(r"^ +(\d+) +(\d+) +(\d+) .*? ([0-9A-F]{4})  (.*)$", before, re.MULTILINE)
    assert [line[:3] for line in lines[:-1]] == [line[:3] for line in old]
    assert lines[-1][3:] == ("0700", "UNBRICK")
    assert {line[3] for line in lines[:-1]} == {"8300", "EF00"}
    assert int(lines[-1][1]) * 512 == layout.partition_offset
    first, sectors = struct.unpack_from("<II", layout.head, 446 + 8)
    assert (first, sectors) == (1, min(size // 512 - 1, 0xFFFFFFFF)), "the protective entry spans the stick"
    assert layout.partition_offset % MIB == layout.partition_size % MIB == 0
    assert 64 * MIB <= layout.partition_size <= 1024 * MIB
    assert (int(lines[-1][2]) + 1) * 512 == layout.partition_offset + layout.partition_size


def test_the_boot_code_and_everything_behind_the_table_is_the_images(image: Path, tmp_path: Path) -> None:
    lay_out(image, tmp_path / "stick", 100 * MIB)
    data, stick = image.read_bytes(), (tmp_path / "stick").read_bytes()
    assert stick[:446] == data[:446]
    assert any(data[:400])
    assert stick[HEAD_BYTES : len(data)] == data[HEAD_BYTES:]
    assert stick[len(data) : len(data) + HEAD_BYTES] == data[:HEAD_BYTES]


def test_the_same_image_and_size_give_the_same_bytes(image: Path) -> None:
    data = image.read_bytes()
    first, second = (plan_stick(data[:HEAD_BYTES], len(data), 100 * MIB) for _ in range(2))
    assert first == second
    assert first.head != plan_stick(data[:HEAD_BYTES], len(data), 101 * MIB).head


def test_any_change_outside_the_partition_is_found(image: Path, tmp_path: Path) -> None:
    layout = lay_out(image, tmp_path / "stick", 100 * MIB)
    with (tmp_path / "stick").open("r+b") as stream:

        def read(offset: int, size: int) -> bytes:
            stream.seek(offset)
            return stream.read(size)

        head, found = find_differences(read, layout.image_size, 100 * MIB)
        assert (head, found) == (image.read_bytes()[:HEAD_BYTES], [])
        behind = layout.image_size + HEAD_BYTES + 1
        for place in (0, 300, 446, 600, 2000, HEAD_BYTES - 1, behind, 100 * MIB - 600, 100 * MIB - 1):
            old = read(place, 1)
            stream.seek(place)
            stream.write(bytes([old[0] ^ 1]))
            assert len(find_differences(read, layout.image_size, 100 * MIB)[1]) == 1, place
            stream.seek(place)
            stream.write(old)
        assert find_differences(read, layout.image_size, 100 * MIB)[1] == []


def test_a_stick_that_is_too_small_is_refused_with_the_size_that_would_do(image: Path) -> None:
    data = image.read_bytes()
    with pytest.raises(UsageError, match="too small") as refused:
        plan_stick(data[:HEAD_BYTES], len(data), 64 * MIB)
    needed = int(re.findall(r"(\d+) MiB are needed", str(refused.value))[0])
    assert plan_stick(data[:HEAD_BYTES], len(data), needed * MIB).partition_size == 64 * MIB
    with pytest.raises(UsageError, match="too small"):
        plan_stick(data[:HEAD_BYTES], len(data), (needed - 1) * MIB)


def test_what_is_no_image_of_a_medium_is_refused(image: Path) -> None:
    data = image.read_bytes()
    for head, size in (
        (bytes(HEAD_BYTES), len(data)),
        (data[:HEAD_BYTES], 1000),
        (data[: HEAD_BYTES - 1], len(data)),
        (data[:600] + bytes([data[600] ^ 1]) + data[601:HEAD_BYTES], len(data)),
        (data[:1030] + bytes([data[1030] ^ 1]) + data[1031:HEAD_BYTES], len(data)),
        (data[:446] + bytes(64) + data[510:HEAD_BYTES], len(data)),
        (data[:454] + b"\xff" * 4 + data[458:HEAD_BYTES], len(data)),  # begins behind the stick's end
    ):
        with pytest.raises(UsageError, match="image"):
            plan_stick(head, size, 100 * MIB)


@given(st.lists(st.tuples(st.integers(512, 603), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_hostile_header_gives_a_plan_or_one_kind_of_error(
    image: Path, changes: list[tuple[int, int]]
) -> None:
    head = bytearray(image.read_bytes()[:HEAD_BYTES])
    for at, value in changes:
        head[at] = value
    struct.pack_into("<I", head, 528, 0)
    size = min(max(int.from_bytes(head[524:528], "little"), 92), 512)
    struct.pack_into("<I", head, 528, zlib.crc32(bytes(head[512 : 512 + size])))
    try:
        layout = plan_stick(bytes(head), image.stat().st_size, 100 * MIB)
    except UsageError:
        return
    assert len(layout.head) == HEAD_BYTES
    assert io.BytesIO(layout.head).read(446) == bytes(head[:446])
