"""Which hibernation files are alive, on an ordinary folder."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from unbrick.disks.ntfs.hibernation import find_hibernation


def write(root: Path, path: str, data: bytes = b"", *, age: int = 0) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    os.utime(file, (1_700_000_000 - age, 1_700_000_000 - age))


@pytest.mark.parametrize("first", [b"HIBR", b"hibr"])
def test_alive(tmp_path: Path, first: bytes) -> None:
    write(tmp_path, "hiberfil.sys", first.ljust(4096, b"\0"))
    found = find_hibernation(tmp_path)
    assert found is not None
    assert found.record == (tmp_path / "hiberfil.sys").stat().st_ino
    assert found.note is None


@pytest.mark.parametrize("first", [b"RSTR", b"wake", b"WAKE", b"\0\0\0\0"])
def test_not_alive(tmp_path: Path, first: bytes) -> None:
    write(tmp_path, "hiberfil.sys", first.ljust(4096, b"\0"))
    assert find_hibernation(tmp_path) is None


def test_none(tmp_path: Path) -> None:
    assert find_hibernation(tmp_path) is None


def test_name_in_other_case_counts(tmp_path: Path) -> None:
    write(tmp_path, "HIBERFIL.SYS", b"HIBR".ljust(4096, b"\0"))
    assert find_hibernation(tmp_path) is not None


def test_too_short_for_a_header_counts_as_ntfs_3g_has_it(tmp_path: Path) -> None:
    write(tmp_path, "hiberfil.sys", b"wake")
    assert find_hibernation(tmp_path) is not None


def test_folder_or_link_of_that_name_is_no_hibernation(tmp_path: Path) -> None:
    (tmp_path / "hiberfil.sys").mkdir()
    assert find_hibernation(tmp_path) is None
    (tmp_path / "hiberfil.sys").rmdir()
    (tmp_path / "hiberfil.sys").symlink_to("/dev/zero")
    assert find_hibernation(tmp_path) is None


@pytest.mark.parametrize("dump", ["Windows/MEMORY.DMP", "windows/minidump/071924-1234-01.dmp"])
def test_newer_crash_dump_is_said(tmp_path: Path, dump: str) -> None:
    write(tmp_path, "hiberfil.sys", b"HIBR".ljust(4096, b"\0"), age=100)
    write(tmp_path, dump, age=50)
    found = find_hibernation(tmp_path)
    assert found is not None
    assert "crash dump is newer" in (found.note or "")
    write(tmp_path, dump, age=150)
    older = find_hibernation(tmp_path)
    assert older is not None
    assert older.note is None


def test_crash_dumps_that_cannot_be_read_hide_no_hibernation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "hiberfil.sys", b"HIBR".ljust(4096, b"\0"), age=100)
    write(tmp_path, "Windows/Minidump/071924-1234-01.dmp", age=50)

    def fails(_: Path) -> Iterator[Path]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Path, "iterdir", fails)
    found = find_hibernation(tmp_path)
    assert found is not None
    assert found.note is None
