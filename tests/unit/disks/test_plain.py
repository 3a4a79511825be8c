"""What is never opened for writing, and the borders a loop device keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.disks.disk import Disk
from unbrick.disks.loop_device import attach_loop
from unbrick.disks.plain import open_plain
from unbrick.errors import FailedError, NeedsHandsError
from unbrick.model import Volume, VolumeKind, VolumeState

VOLUME = Volume(None, 0, 4096, VolumeKind.NTFS, VolumeState.OPEN)


def disk_at(path: Path, refusal: str | None = None) -> Disk:
    return Disk(path, path, 4096, 512, None, (VOLUME,), refusal=refusal)


def test_whole_disk_is_taken_as_it_is(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    flushed: list[str] = []
    disk = replace(disk_at(image), _sync=lambda: flushed.append("disk"))
    with open_plain(disk, VOLUME, None, RecordedRunner(), tmp_path) as plain:
        assert (plain.path, plain.length) == (image, 4096)
        plain.sync()
    assert flushed == ["disk"]


@pytest.mark.parametrize("by_disk", [True, False])
def test_what_must_not_be_written_is_not_opened(tmp_path: Path, by_disk: bool) -> None:
    image = tmp_path / "disk.img"
    image.write_bytes(bytes(4096))
    disk = disk_at(image, "raid-member" if by_disk else None)
    volume = VOLUME if by_disk else replace(VOLUME, refusal="raid-member")
    with (
        pytest.raises(NeedsHandsError) as caught,
        open_plain(disk, volume, None, RecordedRunner(), tmp_path),
    ):
        pass
    assert caught.value.reason == "raid-member"


def test_disk_that_cannot_be_opened(tmp_path: Path) -> None:
    disk = replace(disk_at(tmp_path / "export"), path=tmp_path / "disk.qcow2")
    with (
        pytest.raises(FailedError, match=r"disk\.qcow2 cannot be opened"),
        open_plain(disk, VOLUME, None, RecordedRunner(), tmp_path),
    ):
        pass


@pytest.mark.parametrize(("offset", "length"), [(1, 512), (512, 1), (-512, 512), (0, 0)])
def test_loop_keeps_to_sector_borders(tmp_path: Path, offset: int, length: int) -> None:
    with pytest.raises(NeedsHandsError), attach_loop(tmp_path / "x", offset=offset, length=length):
        pass
