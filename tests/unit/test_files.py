"""Writing files whole, and finding Windows paths, where power is cut and disks fail."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from unbrick.files import NoPlainFileError, TooLargeError, atomic_write, find_inside, open_plain, read_plain


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


def test_nothing_but_a_file_is_opened(tmp_path: Path) -> None:
    """A pipe would be waited for, a device may act, and a link leads to what nobody named."""
    file, pipe, link = tmp_path / "file", tmp_path / "pipe", tmp_path / "link"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    link.symlink_to(file)
    for path, kind in ((pipe, stat.S_IFIFO), (link, stat.S_IFLNK), (tmp_path, stat.S_IFDIR)):
        with pytest.raises(NoPlainFileError) as caught:
            open_plain(path)
        assert caught.value.kind == kind
    assert read_plain(link, 5, follow=True) == read_plain(file, 5) == b"12345"
    with pytest.raises(TooLargeError):
        read_plain(file, 4)


def test_what_becomes_a_link_or_a_pipe_after_it_was_looked_at_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345")
    was = file.stat()
    monkeypatch.setattr(os, "stat", lambda *_, **__: was)
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "pipe")
    for name in ("link", "pipe"):
        with pytest.raises(NoPlainFileError):
            open_plain(tmp_path / name)
