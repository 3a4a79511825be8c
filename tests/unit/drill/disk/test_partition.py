from __future__ import annotations

import io
import struct
import zlib

import pytest
from dissect.volume import disk

from unbrick.drill.disk.partition import Layout, Role, plan_layout, write_table
from unbrick.drill.options import MIB, MachineOptions


def _table(machine: MachineOptions) -> tuple[Layout, bytes]:
    layout = plan_layout(machine)
    stream = io.BytesIO(bytes(layout.size))
    write_table(stream, layout)
    return layout, stream.getvalue()


@pytest.mark.parametrize("sector_size", [512, 4096])
@pytest.mark.parametrize("two_windows", [False, True])
def test_another_reader_finds_the_same_partitions(sector_size: int, two_windows: bool) -> None:
    machine = MachineOptions("PC-1", 1, size=384 * MIB, sector_size=sector_size, two_windows=two_windows)
    layout, raw = _table(machine)
    found = disk.Disk(io.BytesIO(raw), sector_size=sector_size)
    assert [(part.offset, str(part.guid), part.name) for part in found.partitions] == [
        (part.offset, str(part.guid), part.role.value) for part in layout.partitions
    ]
    assert len(layout.of(Role.WINDOWS)) == 1 + two_windows
    assert raw[sector_size + 56 : sector_size + 72] == layout.guid.bytes_le


@pytest.mark.parametrize("sector_size", [512, 4096])
def test_both_headers_are_whole_and_point_at_each_other(sector_size: int) -> None:
    layout, raw = _table(MachineOptions("PC-1", 1, size=384 * MIB, sector_size=sector_size))
    last = layout.size // sector_size - 1
    for at, other in ((1, last), (last, 1)):
        header = bytearray(raw[at * sector_size : at * sector_size + 92])
        (checksum,) = struct.unpack_from("<I", header, 16)
        struct.pack_into("<I", header, 16, 0)
        assert zlib.crc32(header) == checksum
        mine, backup, first_usable, last_usable = struct.unpack_from("<QQQQ", header, 24)
        entries_at, count, size, entries_checksum = struct.unpack_from("<QIII", header, 72)
        assert (mine, backup) == (at, other)
        entries = raw[entries_at * sector_size : entries_at * sector_size + count * size]
        assert zlib.crc32(entries) == entries_checksum
        for part in layout.partitions:
            assert first_usable * sector_size <= part.offset
            assert part.offset + part.length <= (last_usable + 1) * sector_size


@pytest.mark.parametrize("size", [160 * MIB, 256 * MIB + 12345, 2048 * MIB, 64 * 1024 * MIB])
def test_partitions_follow_one_another_and_leave_windows_the_most(size: int) -> None:
    layout = plan_layout(MachineOptions("PC-1", 1, size=size))
    end = 0
    for part in layout.partitions:
        assert part.offset >= end
        assert part.offset % MIB == 0
        end = part.offset + part.length
    assert end < layout.size <= size
    largest = max(layout.partitions, key=lambda part: part.length)
    assert largest.role is Role.WINDOWS


def test_guids_follow_from_the_seed_and_the_name() -> None:
    first = plan_layout(MachineOptions("PC-1", 1))
    assert first == plan_layout(MachineOptions("PC-1", 1))
    guids = {
        first.guid,
        plan_layout(MachineOptions("PC-2", 1)).guid,
        plan_layout(MachineOptions("PC-1", 2)).guid,
    }
    assert len(guids) == 3
