"""Boot sector, records and the dirty flag, on a volume that mkntfs made and on broken copies of it."""

from __future__ import annotations

import contextlib
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ntfs_states import make_volume, mark_dirty, protect, volume_flags

from unbrick.disks.ntfs.file_table import find_data
from unbrick.disks.ntfs.log import read_log_state
from unbrick.disks.ntfs.structures import (
    _replaced,
    open_view,
    read_dirty,
    read_geometry,
    unprotect,
    write_dirty,
)
from unbrick.errors import FailedError, NeedsHandsError


class Memory:
    """A byte view of bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def read(self, offset: int, length: int) -> bytes:
        return bytes(self.data[offset : offset + length])

    def write(self, offset: int, data: bytes) -> None:
        self.data[offset : offset + len(data)] = data


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return make_volume(tmp_path_factory.mktemp("ntfs") / "volume", 8 << 20).read_bytes()


def test_geometry_is_what_mkntfs_made(pristine: bytes) -> None:
    geometry = read_geometry(Memory(pristine))
    assert (geometry.cluster, geometry.record, geometry.length) == (4096, 1024, (8 << 20) - 512)
    assert pristine[geometry.mft : geometry.mft + 4] == b"FILE"
    assert pristine[geometry.mirror : geometry.mirror + 4] == b"FILE"


def test_dirty_flag_goes_into_table_and_mirror_and_nothing_else(tmp_path: Path) -> None:
    volume = make_volume(tmp_path / "volume", 8 << 20)
    before = volume.read_bytes()
    with open_view(volume, writable=True) as view:
        geometry = read_geometry(view)
        assert not read_dirty(view, geometry)
        write_dirty(view, geometry, True)
        assert read_dirty(view, geometry)
    after = volume.read_bytes()
    assert volume_flags(volume) == "0x0001 DIRTY"
    changed = [index for index in range(len(before)) if before[index] != after[index]]
    record = 3 * geometry.record
    assert [geometry.mft + record <= at < geometry.mft + record + 512 for at in changed].count(True) == 1
    assert [geometry.mirror + record <= at < geometry.mirror + record + 512 for at in changed].count(
        True
    ) == 1
    assert len(changed) == 2
    with open_view(volume, writable=True) as view:
        write_dirty(view, geometry, False)
    assert volume.read_bytes() == before


def test_dirty_flag_set_by_others_is_seen(tmp_path: Path) -> None:
    volume = make_volume(tmp_path / "volume", 8 << 20)
    mark_dirty(volume)
    with open_view(volume) as view:
        assert read_dirty(view, read_geometry(view))


def test_torn_mirror_leaves_both_copies_alone(pristine: bytes) -> None:
    view = Memory(pristine)
    geometry = read_geometry(view)
    view.data[geometry.mirror + 3 * geometry.record + 510] ^= 0xFF
    before = bytes(view.data)
    with pytest.raises(NeedsHandsError, match="mirror") as caught:
        write_dirty(view, geometry, True)
    assert caught.value.reason == "damaged-volume"
    assert view.data == before


@pytest.mark.parametrize(
    ("offset", "value"),
    [(3, b"FAT32   "), (510, b"\0\0"), (0x0B, b"\1\0"), (0x0D, b"\3"), (0x30, b"\xff" * 8), (0x40, b"\x21")],
)
def test_boot_sector_that_makes_no_sense_is_refused(pristine: bytes, offset: int, value: bytes) -> None:
    view = Memory(pristine[:512])
    view.write(offset, value)
    with pytest.raises(NeedsHandsError) as caught:
        read_geometry(view)
    assert caught.value.reason == "damaged-volume"


@pytest.mark.parametrize(
    ("command", "size"),
    [(["mkfs.fat", "-F", "32"], 64 << 20), (["mkfs.fat", "-F", "16"], 32 << 20), ([], 512)],
)
def test_a_fat_file_system_is_called_one(tmp_path: Path, command: list[str], size: int) -> None:
    """Not a damaged NTFS: BitLocker To Go often has one inside."""
    volume = tmp_path / "volume"
    with volume.open("wb") as stream:
        stream.truncate(size)
    if command:
        subprocess.run([*command, volume], check=True, stdout=subprocess.DEVNULL)
    else:
        volume.write_bytes(b"\xeb\x76\x90EXFAT   ".ljust(510, b"\0") + b"\x55\xaa")
    with open_view(volume) as view, pytest.raises(NeedsHandsError, match="FAT") as caught:
        read_geometry(view)
    assert caught.value.reason == "no-windows"


def test_large_clusters_are_powers_below_zero(pristine: bytes) -> None:
    view = Memory(pristine)
    view.write(0x0D, bytes([0xF8]))  # 2 to the power of 8 sectors
    view.write(0x30, struct.pack("<QQ", 1, 2))
    assert read_geometry(view).cluster == 128 * 1024


def test_runs_that_leave_the_volume_are_refused(pristine: bytes) -> None:
    view = Memory(pristine)
    geometry = read_geometry(view)
    position = geometry.mft + 2 * geometry.record
    record = bytearray(unprotect(view.read(position, geometry.record), b"FILE") or b"")
    data = record.index(struct.pack("<I", 0x80), 0x38)
    (runs,) = struct.unpack_from("<H", record, data + 32)
    record[data + runs : data + runs + 6] = b"\x14" + b"\xff\xff\xff\x7f" + b"\x01"
    view.write(position, protect(record))
    with pytest.raises(NeedsHandsError, match="clusters"):
        find_data(view, geometry, 2)


@given(st.integers(0, 1022), st.binary(min_size=2, max_size=2))
def test_replacing_bytes_survives_the_update_sequence(position: int, value: bytes) -> None:
    page = bytearray(index % 251 for index in range(1024))
    struct.pack_into("<4sHH", page, 0, b"FILE", 0x30, 3)
    position = max(position, 0x36)
    block = protect(page)
    expected = bytearray(unprotect(block, b"FILE") or b"")
    expected[position : position + 2] = value
    result = unprotect(_replaced(block, position, value), b"FILE")
    assert result is not None
    assert result[0x36:] == bytes(expected[0x36:])


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_no_flipped_bits_bring_anything_but_our_own_errors(pristine: bytes, data: st.DataObject) -> None:
    view = Memory(pristine)
    geometry = read_geometry(view)
    regions = [0, geometry.mft, geometry.mft + 2 * geometry.record, geometry.mft + 3 * geometry.record]
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.sampled_from(regions)) + data.draw(st.integers(0, 1023))
        view.data[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(NeedsHandsError):
        geometry = read_geometry(view)
        read_dirty(view, geometry)
        read_log_state(view, geometry)
        write_dirty(view, geometry, True)


def test_a_disk_that_cannot_be_opened_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(FailedError) as caught, open_view(tmp_path / "missing"):
        pass
    assert caught.value.reason == "unreadable-disk"
    assert str(tmp_path) not in caught.value.message, "that is a place of ours, of which nobody knows"
