"""A disk that refuses one write or one flush: it is said, nothing is lost, and the next run ends the work."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pytest
from support.cut_judge import judge
from support.drilled import Drills, cut_out
from support.failing_disk import failing
from support.ntfs_reader import partition_view
from support.ntfs_states import filled, make_volume
from support.program import run_program

from unbrick.disks.ntfs.driver import mount_ntfs
from unbrick.drill.disk.truth import VolumeTruth
from unbrick.errors import FailedError
from unbrick.processes.command import SystemRunner

pytestmark = pytest.mark.usefixtures("leaves_nothing")

# The record, the dirty flag, the change, the flag taken back, the record away.
FLUSHES = 5


@pytest.fixture
def bricked(drills: Drills, tmp_path: Path) -> tuple[Path, VolumeTruth]:
    """A disk that is all one volume, and the truth about it."""
    disk = drills.copy("plain", tmp_path / "disks")
    cut_out(disk.image, disk.volume, tmp_path / "volume.img")
    return tmp_path / "volume.img", disk.volume


def _complaints(
    image: Path, truth: VolumeTruth, said: dict[str, object], *, undoing: bool
) -> tuple[str, ...]:
    @contextmanager
    def open_volume() -> Iterator[BinaryIO]:
        with image.open("rb") as stream:
            yield partition_view(stream, 0, truth.length)

    return judge(truth, open_volume, said, undoing=undoing, to_check=False).complaints


@pytest.mark.parametrize("flush", range(1, FLUSHES + 1))
@pytest.mark.parametrize("refused", ["write", "flush"])
@pytest.mark.parametrize("verb", ["repair", "undo"])
def test_what_a_disk_refuses_once_is_done_by_the_next_run(
    bricked: tuple[Path, VolumeTruth], tmp_path: Path, verb: str, refused: str, flush: int
) -> None:
    image, truth = bricked
    if verb == "undo":
        assert run_program("repair", image, "--yes").code == 0
    with failing(image, tmp_path / "export.img", refused, flush) as disk:
        said = run_program(verb, disk, "--yes", "--json").document
    assert (said["status"], said["reason"]) == ("failed", "unreadable-disk")
    again = run_program(verb, image, "--yes", "--json").document
    assert _complaints(image, truth, again, undoing=verb == "undo") == ()


def test_a_disk_that_refuses_the_first_write_is_left_as_it_was(
    bricked: tuple[Path, VolumeTruth], tmp_path: Path
) -> None:
    image, _ = bricked
    before = image.read_bytes()
    with failing(image, tmp_path / "export.img", "write", 1, once=False) as disk:
        said = run_program("repair", disk, "--yes", "--json").document
    assert (said["status"], said["reason"]) == ("failed", "unreadable-disk")
    assert image.read_bytes() == before


def test_a_write_that_the_driver_kept_quiet_about_ends_the_mount_with_an_error(tmp_path: Path) -> None:
    """Its exit code is 0; here we keep quiet about it too, as of a file with a name that is not listed."""
    volume = make_volume(tmp_path / "volume")
    with filled(volume, tmp_path / "root") as root:
        (root / "file").write_bytes(b"")

    def work(disk: Path) -> None:
        with mount_ntfs(disk, tmp_path / "root", SystemRunner(), read_only=False) as root, suppress(OSError):
            os.link(root / "file", root / "link")

    with (
        failing(volume, tmp_path / "export", "write", once=False) as disk,
        pytest.raises(FailedError, match="could not write all"),
    ):
        work(disk)
