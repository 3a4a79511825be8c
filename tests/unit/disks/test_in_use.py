"""Who has an image open: found by the file's number, so that no other file has to be looked at."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from unbrick.disks.in_use import _is_writer

OWN = Path("/proc/self")


class Hanging(type(Path())):  # type: ignore[misc]
    """An open file on a server that answers no more: a look at it would last for ever."""

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        pytest.fail("it was looked at")


def test_a_file_that_is_written_is_found(tmp_path: Path) -> None:
    with (tmp_path / "image").open("wb") as stream:
        entry = OWN / "fd" / str(stream.fileno())
        assert _is_writer(OWN, entry, (tmp_path / "image").stat())


def test_a_file_that_is_only_read_is_no_matter(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with (tmp_path / "image").open("rb") as stream:
        entry = Hanging(OWN / "fd" / str(stream.fileno()))
        assert not _is_writer(OWN, entry, (tmp_path / "image").stat())


def test_another_file_is_not_looked_at(tmp_path: Path) -> None:
    (tmp_path / "image").touch()
    with (tmp_path / "other").open("wb") as stream:
        entry = Hanging(OWN / "fd" / str(stream.fileno()))
        assert not _is_writer(OWN, entry, (tmp_path / "image").stat())
