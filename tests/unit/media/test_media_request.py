"""What a build refuses before it begins, and how it says that there was no room."""

from __future__ import annotations

import errno
import platform
from contextlib import nullcontext
from pathlib import Path

import pytest

from unbrick.command import SystemRunner
from unbrick.errors import FailedError, UsageError
from unbrick.media import build
from unbrick.media.build_inputs import BuildRequest, digest_of_package


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


def test_a_full_disk_is_one_line_with_what_to_do(
    request_: BuildRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "/cache/x")

    monkeypatch.setattr(build, "make_system", full)
    with pytest.raises(FailedError) as caught:
        try_to_build(request_)
    assert caught.value.message == "/cache/x: No space left on device"
    assert "4 GB" in (caught.value.hint or "")
    assert not request_.out.exists()


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
