"""A new file or folder is whole or not there, and a try that was killed does not hinder the next."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from unbrick.errors import FailedError, UsageError
from unbrick.tally.new_file import new_file
from unbrick.tally.new_folder import UNFINISHED, new_folder


def killed(work: Callable[[], None]) -> None:
    """Do this in a process that kills itself in the middle."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGKILL


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_whose_writer_was_killed_is_not_there_and_the_next_try_clears_up(tmp_path: Path) -> None:
    def half() -> None:
        with new_file(tmp_path / "all.jsonl") as stream:
            stream.write(b"half")
            stream.flush()
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    (left,) = names(tmp_path)
    assert left.startswith(".all.jsonl.")
    with new_file(tmp_path / "other") as stream:
        stream.write(b"whole")
    assert left in names(tmp_path)
    with new_file(tmp_path / "all.jsonl") as stream:
        stream.write(b"whole")
    assert names(tmp_path) == ["all.jsonl", "other"]
    assert (tmp_path / "all.jsonl").read_bytes() == b"whole"
    assert (tmp_path / "all.jsonl").stat().st_mode & 0o777 == 0o600


def test_a_file_that_another_process_is_writing_is_left_alone(tmp_path: Path) -> None:
    with new_file(tmp_path / "one") as first:
        first.write(b"first")
        with new_file(tmp_path / "one") as second:
            second.write(b"second")
            assert len(names(tmp_path)) == 2
        assert (tmp_path / "one").read_bytes() == b"second"
        first.flush()
        with pytest.raises(UsageError, match="is there already"), new_file(tmp_path / "one"):
            pass
        (tmp_path / "one").unlink()
    assert (tmp_path / "one").read_bytes() == b"first"


@pytest.mark.parametrize("links", [True, False])
def test_somebodys_file_is_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    if not links:  # as on FAT
        monkeypatch.setattr(os, "link", refused)

    def late() -> None:
        with new_file(tmp_path / "one") as stream:
            stream.write(b"ours")
            (tmp_path / "one").write_bytes(b"theirs")

    with pytest.raises(UsageError, match="is there already"):
        late()
    (tmp_path / "nowhere").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is there already"), new_file(tmp_path / "nowhere"):
        pass
    assert (tmp_path / "one").read_bytes() == b"theirs"
    with new_file(tmp_path / "two") as stream:
        stream.write(b"ours")
    assert (tmp_path / "two").read_bytes() == b"ours"
    assert names(tmp_path) == ["nowhere", "one", "two"]


def test_a_file_in_no_folder_is_an_error_in_words(tmp_path: Path) -> None:
    with (
        pytest.raises(FailedError, match=r"cannot write in .*gone: No such file"),
        new_file(tmp_path / "gone" / "one"),
    ):
        pass


def test_a_folder_whose_writer_was_killed_is_filled_anew(tmp_path: Path) -> None:
    place = tmp_path / "copy"

    def half() -> None:
        with new_folder(place):
            (place / "key").write_bytes(b"half")
            (place / "more").mkdir()
            (place / "more" / "inside").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)

    killed(half)
    assert UNFINISHED in names(place)
    with new_folder(place):
        assert names(place) == [UNFINISHED]
        (place / "key").write_bytes(b"whole")
        with pytest.raises(UsageError, match="is being filled by another unbrick"), new_folder(place):
            pass
    assert names(place) == ["key"]
    with pytest.raises(UsageError, match="is not empty"), new_folder(place):
        pass
    assert (place / "key").read_bytes() == b"whole"


def test_a_folder_that_failed_is_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    def stopped(place: Path) -> None:
        with new_folder(place):
            (place / "key").write_bytes(b"half")
            raise ValueError("stop")

    for name in ("new", "empty"):
        with pytest.raises(ValueError, match="stop"):
            stopped(tmp_path / name)
    assert names(tmp_path) == ["empty"]
    assert names(tmp_path / "empty") == []
