"""A change that reaches the disk whole, and the record of it that is obeyed only where it still holds."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.ntfs_states import (
    is_marked_dirty,
    leave_log_open,
    make_volume,
    mark_dirty,
    restart_page,
    write_log,
)

from unbrick.disks.change.commit import commit, complete, find_changes
from unbrick.disks.change.facts import VolumeFacts, read_facts
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import _places, find_pending, place_record
from unbrick.disks.change.redo_record import SECTOR, Change, Redo, change_of
from unbrick.disks.ntfs.log import open_log
from unbrick.disks.ntfs.stream import Stream
from unbrick.disks.ntfs.structures import Attribute, FileView, Run, open_view
from unbrick.disks.plain import PlainVolume
from unbrick.errors import NeedsHandsError

PLACE = 2 << 20  # nothing lies there
SIZE = 8 << 20
NOISE = random.Random(7).randbytes(6 * SECTOR)


class CutError(Exception):
    """The power is gone."""


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    path = make_volume(tmp_path / "volume", SIZE)
    put(path, PLACE, b"before".ljust(SECTOR, b".") * 6)
    return path


def put(volume: Path, place: int, data: bytes) -> None:
    with volume.open("r+b") as stream:
        stream.seek(place)
        stream.write(data)


def got(volume: Path) -> bytes:
    return volume.read_bytes()[PLACE : PLACE + len(NOISE)]


def facts_of(volume: Path) -> VolumeFacts:
    return read_facts(volume, SIZE)


def changes_of(volume: Path, written: list[tuple[int, bytes]]) -> tuple[Change, ...]:
    with open_view(volume) as view:
        after = PatchedView(view, SIZE)
        after.take(written)
        return find_changes(view, after, facts_of(volume).geometry)


def change_it(volume: Path, *, cut_at: int = 0, dirty_after: bool = False) -> None:
    """Write NOISE to PLACE, and cut the power right after that flush (1 is the first)."""
    flushes = iter(range(1, 100))

    def sync() -> None:
        if next(flushes) == cut_at:
            raise CutError

    plain = PlainVolume(volume, SIZE, sync)
    cluster = bytearray(volume.read_bytes()[PLACE : PLACE + 65536])
    cluster[: len(NOISE)] = NOISE
    written = changes_of(volume, [(PLACE, bytes(cluster))])
    if cut_at:
        with pytest.raises(CutError):
            commit(plain, facts_of(volume), written, run="some-run", dirty_after=dirty_after)
    else:
        commit(plain, facts_of(volume), written, run="some-run", dirty_after=dirty_after)


@pytest.fixture
def area(volume: Path) -> Iterator[Stream]:
    with open_view(volume, writable=True) as view:
        yield open_log(view, facts_of(volume).geometry)


def test_a_change_is_made_and_leaves_nothing_else(volume: Path) -> None:
    before = bytearray(volume.read_bytes())
    change_it(volume)
    before[PLACE : PLACE + len(NOISE)] = NOISE
    assert volume.read_bytes() == before


@pytest.mark.parametrize(
    ("cut_at", "dirty_after"),
    [(1, False), (2, False), (3, False), (4, False), (1, True), (2, True), (3, True)],
)
def test_a_change_that_was_cut_off_is_completed(volume: Path, cut_at: int, dirty_after: bool) -> None:
    change_it(volume, cut_at=cut_at, dirty_after=dirty_after)
    facts = facts_of(volume)
    assert facts.pending is not None
    assert facts.pending.redo.run == "some-run"
    complete(PlainVolume(volume, SIZE, lambda: None), facts, facts.pending, dirty_after=dirty_after)
    assert got(volume) == NOISE
    assert is_marked_dirty(volume) is dirty_after
    assert facts_of(volume).pending is None
    assert subprocess.run(["ntfs-3g.probe", "--readwrite", volume]).returncode == 0


@pytest.mark.parametrize("mixture", range(1, 2**6, 5))
def test_any_sectors_may_have_been_written_by_then(volume: Path, mixture: int) -> None:
    change_it(volume, cut_at=2)
    for index in range(6):
        if mixture >> index & 1:
            put(volume, PLACE + index * SECTOR, NOISE[index * SECTOR : (index + 1) * SECTOR])
    facts = facts_of(volume)
    assert facts.pending is not None
    complete(PlainVolume(volume, SIZE, lambda: None), facts, facts.pending, dirty_after=False)
    assert got(volume) == NOISE


def test_a_record_says_nothing_where_a_sector_is_a_third_thing(volume: Path) -> None:
    change_it(volume, cut_at=2)
    put(volume, PLACE + 2 * SECTOR + 17, b"another")
    assert facts_of(volume).pending is None


def test_a_record_says_nothing_where_somebody_has_opened_the_volume_since(volume: Path) -> None:
    change_it(volume, cut_at=2)
    assert facts_of(volume).pending is not None
    page = restart_page(current=0x4000, oldest=0x3000, clean=True)
    write_log(volume, page, page)
    assert facts_of(volume).pending is None


def opened(volume: Path) -> None:
    page = restart_page(current=0x4000, oldest=0x3000, clean=True)
    write_log(volume, page, page)


def crashed(volume: Path) -> None:
    leave_log_open(volume, version=(2, 0))


@pytest.mark.parametrize("open_it", [opened, crashed])
@pytest.mark.parametrize(("done", "halfway"), [(0, False), (1, True), (5, True), (6, False)])
def test_a_volume_that_was_opened_halfway_through_a_change_is_known_until_it_was_checked(
    volume: Path, open_it: Callable[[Path], None], done: int, halfway: bool
) -> None:
    change_it(volume, cut_at=2)
    put(volume, PLACE, NOISE[: done * SECTOR])
    assert not facts_of(volume).halfway  # it can be completed
    open_it(volume)
    facts = facts_of(volume)
    assert (facts.pending, facts.halfway) == (None, halfway)
    mark_dirty(volume, dirty=False)
    assert not facts_of(volume).halfway


def test_a_volume_with_a_sector_that_is_a_third_thing_is_halfway(volume: Path) -> None:
    change_it(volume, cut_at=2)
    put(volume, PLACE, NOISE[:SECTOR])
    put(volume, PLACE + 2 * SECTOR + 17, b"another")
    assert facts_of(volume).halfway


@pytest.mark.parametrize("kept", range(0, 8, 2))
def test_half_a_record_says_nothing_and_is_overwritten_by_the_next(
    volume: Path, area: Stream, kept: int
) -> None:
    before = volume.read_bytes()
    change_it(volume, cut_at=1)
    facts = facts_of(volume)
    assert facts.pending is not None
    start = facts.pending.start
    lost = start + kept * SECTOR
    area.write(lost, b"\0" * SECTOR)
    assert facts_of(volume).pending is None
    assert got(volume) == before[PLACE : PLACE + len(NOISE)]
    change_it(volume)
    assert got(volume) == NOISE
    if kept:
        assert area.read(start, facts.pending.length) == b"\xff" * facts.pending.length


@pytest.mark.parametrize("flush", [1, 2, 3, 4, 5])
def test_completing_relies_on_nothing_that_a_failed_flush_may_have_lost(
    volume: Path, monkeypatch: pytest.MonkeyPatch, flush: int
) -> None:
    """The kernel goes on to show what it could not write; here none of the first attempt is on the disk."""
    on_the_disk = bytearray(volume.read_bytes())
    change_it(volume, cut_at=2)
    facts = facts_of(volume)
    assert facts.pending is not None
    written: list[tuple[int, bytes]] = []
    flushed: list[bytes] = []
    write = FileView.write

    def see(view: FileView, offset: int, data: bytes) -> None:
        written.append((offset, data))
        write(view, offset, data)

    def sync() -> None:
        for offset, data in written:
            on_the_disk[offset : offset + len(data)] = data
        flushed.append(bytes(on_the_disk))

    monkeypatch.setattr(FileView, "write", see)
    complete(PlainVolume(volume, SIZE, sync), facts, facts.pending, dirty_after=False)
    monkeypatch.undo()
    assert len(flushed) == 5
    volume.write_bytes(flushed[flush - 1])
    assert is_marked_dirty(volume) is (flush in (2, 3))
    found = facts_of(volume)
    assert (found.pending is None) is (flush == 5)
    if found.pending is not None:
        complete(PlainVolume(volume, SIZE, lambda: None), found, found.pending, dirty_after=False)
    assert got(volume) == NOISE


def test_an_older_record_never_comes_true_again(volume: Path, area: Stream) -> None:
    """Wherever it lies: a later change may by chance bring back what it wants to find."""
    facts = facts_of(volume)
    starts = [start for start, _ in _places(area)]
    assert len(starts) == 2
    change = change_of(PLACE, b"never there".ljust(SECTOR), b"x" * SECTOR)
    old = place_record(area, facts.log, Redo("old", False, (change,)))
    for start in starts:
        area.write(start, old.record)
    change_it(volume)
    assert [area.read(start, SECTOR) for start in starts] == [b"\xff" * SECTOR] * 2


def test_no_place_lies_where_a_restart_page_is_looked_for(volume: Path, area: Stream) -> None:
    change_it(volume, cut_at=1)
    facts = facts_of(volume)
    assert facts.pending is not None
    powers = {512 << n for n in range(30) if 512 << n < area.size}
    assert powers.isdisjoint(range(facts.pending.start, facts.pending.start + facts.pending.length))
    assert facts.log.empty


@pytest.mark.parametrize("upper", [False, True])
def test_the_record_keeps_away_from_the_newest_page(volume: Path, area: Stream, upper: bool) -> None:
    newest = area.size * (15 if upper else 3) // 16 // 8 * 8
    page = restart_page(current=newest >> 3, oldest=newest >> 3, clean=True, size=area.size)
    write_log(volume, page, page)
    facts = facts_of(volume)
    assert facts.log.newest == newest
    change_it(volume, cut_at=1)
    pending = facts_of(volume).pending
    assert pending is not None
    assert abs(pending.start - newest) > 65536 + pending.length


def test_what_does_not_fit_is_refused_with_nothing_written(volume: Path) -> None:
    before = volume.read_bytes()
    noise = random.Random(1).randbytes(2 << 20)
    plain = PlainVolume(volume, SIZE, lambda: None)
    with pytest.raises(NeedsHandsError) as caught:
        commit(plain, facts_of(volume), changes_of(volume, [(PLACE, noise)]), run="", dirty_after=False)
    assert caught.value.reason == "too-many-files"
    assert volume.read_bytes() == before


def test_a_change_too_large_to_be_believed_is_refused(volume: Path, area: Stream) -> None:
    """However small it is when packed: a record that the next run would not read is worth nothing."""
    sectors = (64 << 20) // SECTOR
    change = change_of(PLACE, bytes(sectors * SECTOR), bytes(sectors * SECTOR))
    with pytest.raises(NeedsHandsError) as caught:
        place_record(area, facts_of(volume).log, Redo("", False, (change,)))
    assert caught.value.reason == "too-many-files"


def test_without_a_change_only_the_flag_is_put_right(volume: Path) -> None:
    before = volume.read_bytes()
    mark_dirty(volume)
    same = changes_of(volume, [(PLACE, before[PLACE : PLACE + 65536])])
    commit(PlainVolume(volume, SIZE, lambda: None), facts_of(volume), same, run="", dirty_after=False)
    assert volume.read_bytes() == before


def _where(volume: Path) -> dict[str, int]:
    facts = facts_of(volume)
    with open_view(volume) as view:
        log = open_log(view, facts.geometry).extents()[0][0]
    flag = 3 * facts.geometry.record
    return {
        "boot": 512,
        "journal": log + 8192,
        "flag": facts.geometry.mft + flag,
        "its mirror": facts.geometry.mirror + flag + 512,
        "outside": facts.geometry.length // SECTOR * SECTOR,
    }


@pytest.mark.parametrize("where", ["boot", "journal", "flag", "its mirror", "outside"])
def test_a_record_that_asks_for_more_than_we_ever_do_says_nothing(
    volume: Path, area: Stream, where: str
) -> None:
    """Also where its digests are right, as only somebody can make it who could write there anyway."""
    facts = facts_of(volume)
    place = _where(volume)[where]
    former = volume.read_bytes()[place : place + SECTOR]
    for offset, holds in ((PLACE, True), (place, False)):
        was = volume.read_bytes()[offset : offset + SECTOR] if holds else former
        change = change_of(offset, was, b"x" * SECTOR)
        placed = place_record(area, facts.log, Redo("", False, (change,)))
        area.write(placed.start, placed.record)
        with open_view(volume) as view:
            assert (find_pending(view, facts.geometry, area) is not None) is holds


def test_the_log_area_is_read_and_written_across_runs(volume: Path) -> None:
    with open_view(volume, writable=True) as view:
        log = Attribute(0, None, (Run(PLACE, 4096), Run(PLACE + 65536, 4096)), 8192, True)
        scattered = Stream(view, log.runs, log.size)
        scattered.write(4000, NOISE[:200])
        assert scattered.read(4000, 200) == NOISE[:200]
        assert view.read(PLACE + 4000, 96) + view.read(PLACE + 65536, 104) == NOISE[:200]
        assert scattered.covers(PLACE + 65536)
        assert not scattered.covers(PLACE + 4096)
        with pytest.raises(NeedsHandsError):
            scattered.write(8000, bytes(500))
