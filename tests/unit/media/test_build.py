"""What a build refuses before it begins, and how it says that there was no room."""

from __future__ import annotations

import errno
import os
import platform
import shutil
import stat
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest

from unbrick.errors import FailedError, UsageError
from unbrick.media import build
from unbrick.media.build import BuildRequest
from unbrick.media.system.cached_part import digest_of_package
from unbrick.processes.command import CommandError, SystemRunner


def try_to_build(request: BuildRequest) -> None:
    build.build_medium(request, lambda words: nullcontext(), SystemRunner())


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    return BuildRequest(out=tmp_path / "x.iso", settings={}, site_key=tmp_path / "site-key")


def test_another_kind_of_computer_is_refused(request_: BuildRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(UsageError, match="cannot be built on aarch64"):
        try_to_build(request_)
    assert not request_.site_key.exists()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/cache/read"),
        CommandError(["zstd"], 1, b"cannot write block : No space left on device\n"),
        CommandError(["xorriso"], 32, b"FAILURE : Image size 41834s exceeds free space on media 19792s\n"),
    ],
)
def test_a_full_disk_is_one_line_with_what_to_do(
    request_: BuildRequest, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It names the folder on the full disk, whatever file was in hand."""

    def full(*_: object, **__: object) -> None:
        raise error

    def usage(folder: Path) -> SimpleNamespace:
        return SimpleNamespace(free=1000 if folder == request_.out.parent else 10**12)

    monkeypatch.setattr(build, "make_system", full)
    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(FailedError) as caught:
        try_to_build(request_)
    assert caught.value.message == f"{request_.out.parent}: no space is left on the disk"
    assert "4 GB" in (caught.value.hint or "")
    assert not request_.out.exists()


def test_what_is_no_file_is_not_replaced_by_one(tmp_path: Path) -> None:
    """A device's name above all: `--out /dev/sdb` is a mistake that would cost the device its name."""
    device = tmp_path / "sdb"
    os.mkfifo(device)
    with pytest.raises(UsageError, match="is no file"):
        try_to_build(BuildRequest(out=device, settings={}, site_key=tmp_path / "site-key"))
    assert stat.S_ISFIFO(device.lstat().st_mode)
    assert list(tmp_path.iterdir()) == [device]


def test_the_digest_of_the_source_is_its_names_and_bytes_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.py").write_bytes(b"1")
    first = digest_of_package(tmp_path)
    (tmp_path / "a/__pycache__").mkdir()
    (tmp_path / "a/__pycache__/x.pyc").write_bytes(b"code")
    assert digest_of_package(tmp_path) == first
    (tmp_path / "a/x.py").write_bytes(b"2")
    second = digest_of_package(tmp_path)
    assert second != first
    (tmp_path / "a/x.py").rename(tmp_path / "a/y.py")
    assert digest_of_package(tmp_path) not in (first, second)
