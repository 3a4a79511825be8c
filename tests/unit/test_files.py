"""Writing files whole, and finding Windows paths, where power is cut and disks fail."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from unbrick.files import atomic_write, find_inside


def test_a_power_cut_does_not_keep_the_next_boot_from_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next boot of a medium gives its programs the numbers that those of the last one had."""
    monkeypatch.setattr(os, "getpid", lambda: 417)
    target = tmp_path / "log"
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(os, "fsync", lambda _: os._exit(9))
        atomic_write(target, b"cut off")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert (target.exists(), len(list(tmp_path.iterdir()))) == (False, 1)
    atomic_write(target, b"whole")
    assert target.read_bytes() == b"whole"


def test_what_lies_in_a_folder_that_cannot_be_read_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "Windows").mkdir()
    assert find_inside(tmp_path, "\\Windows\\System32\\ntoskrnl.exe") is None

    def fails(_: Path) -> Iterator[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "iterdir", fails)
    with pytest.raises(OSError, match="Input/output error"):
        find_inside(tmp_path, "\\Windows\\System32\\ntoskrnl.exe")
