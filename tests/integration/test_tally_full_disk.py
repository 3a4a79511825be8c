"""The tally's database on a disk that really fills up: nothing is half stored, and it recovers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tally_events import Told, disk
from support.tally_sums import faults_of

from unbrick.errors import Reason
from unbrick.model import Machine
from unbrick.tally.records import ReceivedEvent, StoreFullError
from unbrick.tally.store.store import Store


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def batch_of(number: int) -> list[ReceivedEvent]:
    told = Told(number, Machine(None, None, disk(number), (f"W-{number:05}",)))
    return [*told.story("repaired"), *(told.tell("note", text="x" * 4000, copy=copy) for copy in range(8))]


def fill(store: Store) -> int:
    """Add until the disk is full; how many batches were taken."""
    for number in range(1000):
        try:
            store.add(batch_of(number))
        except StoreFullError:
            return number
    return 1000


def test_a_batch_that_the_disk_has_no_room_for_is_taken_once_there_is(small_disk: Path) -> None:
    path = small_disk / "tally.db"
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * (1 << 20))
    with Store.open(path) as store:
        kept = fill(store)
        assert 0 < kept < 1000
        for _ in range(3):
            with pytest.raises(StoreFullError) as caught:
                store.add(batch_of(kept))
            assert caught.value.reason == Reason.DISK_FULL
        with Store.open(path, create=False) as watching:
            summary = watching.summary()
            assert (summary.total, summary.events) == (kept, kept * 11)
            assert faults_of(watching) == ()
        ballast.unlink()
        assert store.add(batch_of(kept)) == 11
        assert store.summary().total == kept + 1
        assert faults_of(store) == ()
