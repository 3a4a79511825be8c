"""What the journal's restart pages say, against what ntfs-3g says of the same volume."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest
from support.ntfs_states import (
    PAGE,
    leave_log_open,
    log_runs,
    make_volume,
    record_page,
    restart_page,
    write_log,
)

from unbrick.disks.ntfs.log import LogState, has_pending_records, mend_restart_page, read_log_state, reset_log
from unbrick.disks.ntfs.structures import open_view, read_geometry


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    return make_volume(tmp_path / "volume")


def state_of(volume: Path) -> LogState:
    with open_view(volume) as view:
        return read_log_state(view, read_geometry(view))


def pending_in(volume: Path) -> bool:
    with open_view(volume) as view:
        geometry = read_geometry(view)
        return has_pending_records(view, geometry, read_log_state(view, geometry))


def probe(volume: Path) -> int:
    return subprocess.run(["ntfs-3g.probe", "--readwrite", volume], capture_output=True).returncode


def test_fresh_log_is_empty(volume: Path) -> None:
    assert state_of(volume) == LogState(empty=True, clean=True)
    assert not state_of(volume).needs_replay
    assert not pending_in(volume)


@pytest.mark.parametrize(
    ("version", "clean", "refused"),
    [((1, 1), True, 0), ((1, 1), False, 15), ((2, 0), False, 14), ((2, 0), True, 14)],
)
def test_judged_as_ntfs_3g_judges(volume: Path, version: tuple[int, int], clean: bool, refused: int) -> None:
    page = restart_page(current=0x4000, oldest=0x3000, clean=clean, version=version)
    write_log(volume, page, page)
    state = state_of(volume)
    assert (state.version, state.clean, state.current, state.oldest) == (version, clean, 0x4000, 0x3000)
    assert state.needs_replay == bool(refused)
    assert probe(volume) == refused


@pytest.mark.parametrize("newer_is_second", [False, True])
def test_newer_restart_page_is_believed(volume: Path, newer_is_second: bool) -> None:
    older = restart_page(current=0x4000, oldest=0x3000, clean=False)
    newer = restart_page(current=0x5000, oldest=0x3000, clean=True)
    write_log(volume, *((older, newer) if newer_is_second else (newer, older)))
    assert state_of(volume).clean
    assert probe(volume) == 0


@pytest.mark.parametrize("torn", [0, 1])
def test_closed_log_with_a_torn_restart_page(volume: Path, torn: int) -> None:
    """Of the two, ntfs-3g forgives the second only."""
    pages = [bytearray(restart_page(current=0x4000, oldest=0x3000, clean=True)) for _ in range(2)]
    pages[torn][1022] ^= 0xFF
    write_log(volume, *map(bytes, pages))
    assert state_of(volume).needs_replay == bool(probe(volume)) == (torn == 0)
    with open_view(volume, writable=True) as view:
        mend_restart_page(view, read_geometry(view), state_of(volume))
    assert not state_of(volume).needs_replay
    assert probe(volume) == 0


def test_torn_restart_page_is_passed_over(volume: Path) -> None:
    torn = bytearray(restart_page(current=0x9000, oldest=0x3000, clean=True))
    torn[1022] ^= 0xFF
    write_log(volume, bytes(torn), restart_page(current=0x4000, oldest=0x3000, clean=False))
    assert state_of(volume).current == 0x4000
    assert state_of(volume).needs_replay
    assert probe(volume) == 15


def test_log_without_any_restart_page_is_unclean(volume: Path) -> None:
    write_log(volume, bytes(PAGE), bytes(PAGE))
    assert state_of(volume) == LogState(empty=False, clean=False)
    assert probe(volume) == 15
    assert not pending_in(volume)
    write_log(volume, bytes(PAGE), bytes(PAGE), record_page(1))
    assert pending_in(volume)


def test_records_count_as_pending_when_still_needed(volume: Path) -> None:
    leave_log_open(volume)
    assert not pending_in(volume)
    restart = restart_page(current=0x4000, oldest=0x3000)
    write_log(volume, restart, restart, record_page(0x2FFF))
    assert not pending_in(volume)
    write_log(volume, restart, restart, record_page(0x3000))
    assert pending_in(volume)
    torn = bytearray(record_page(0x5000))
    torn[510] ^= 0xFF
    write_log(volume, restart, restart, bytes(torn))
    assert not pending_in(volume)


def test_nothing_is_pending_in_a_closed_log(volume: Path) -> None:
    restart = restart_page(current=0x4000, oldest=0x3000, clean=True, version=(2, 0))
    write_log(volume, restart, restart, record_page(0x5000))
    assert not pending_in(volume)


def test_reset_empties_the_whole_log_and_only_the_log(volume: Path) -> None:
    before = volume.read_bytes()
    leave_log_open(volume, pending=True)
    with open_view(volume, writable=True) as view:
        reset_log(view, read_geometry(view))
    assert probe(volume) == 0
    after = volume.read_bytes()
    _, runs = log_runs(volume)
    for run in runs:
        assert run.offset is not None
        assert after[run.offset : run.offset + run.length] == b"\xff" * run.length
    assert after == before


def test_absurd_sizes_in_a_restart_page_are_passed_over(volume: Path) -> None:
    for offset, value in ((16, 0), (16, 3), (16, 1 << 31), (24, 0xFFF8), (24, 1), (28, 9)):
        page = bytearray(restart_page(current=0x4000, oldest=0x3000, clean=True))
        struct.pack_into("<I" if offset == 16 else "<H", page, offset, value)
        write_log(volume, bytes(page), bytes(page))
        assert not state_of(volume).clean, offset
