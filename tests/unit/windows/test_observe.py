"""Reading one file to be judged, and refusing every file whose bytes are not simply in it."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from unbrick.errors import Reason
from unbrick.windows import observe
from unbrick.windows.ntfs_file import FileAttributes, NtfsTimes, datetime_to_filetime
from unbrick.windows.observe import UnreadableFileError, observe_file

PATH = "\\Windows\\System32\\drivers\\x.sys"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "Windows" / "System32" / "drivers" / "x.sys"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"\xaa\xaa\xaa\xaa\x01\x00\x23\x01" + bytes(100))
    return path


def why(root: Path, path: str = PATH) -> str:
    with pytest.raises(UnreadableFileError) as caught:
        observe_file(root, path)
    assert caught.value.reason == Reason.UNREADABLE_FILE
    assert caught.value.exit_code == 5
    assert path in caught.value.message
    return caught.value.why


def test_all_that_a_playbook_asks(tmp_path: Path, file: Path) -> None:
    moment = datetime(2024, 7, 19, 4, 9, 12, 345678, tzinfo=UTC)
    os.utime(file, ns=(0, int(moment.timestamp()) * 10**9 + 345678900))
    seen = observe_file(tmp_path, "windows/SYSTEM32/Drivers/X.SYS")
    content = file.read_bytes()
    assert seen.path == PATH
    assert seen.size == 108
    assert seen.first_bytes == content[:64]
    assert seen.sha256 == hashlib.sha256(content).hexdigest()
    assert not seen.all_zero
    assert seen.modified == moment


@pytest.mark.parametrize(
    ("content", "all_zero"),
    [
        (b"", False),
        (bytes(1), True),
        (bytes(3 << 20), True),
        (bytes(3 << 20) + b"x", False),
        (b"x" + bytes(3 << 20), False),
        (b"x\0", False),
    ],
)
def test_only_zeros(tmp_path: Path, file: Path, content: bytes, all_zero: bool) -> None:
    file.write_bytes(content)
    seen = observe_file(tmp_path, PATH)
    assert (seen.all_zero, seen.size, seen.first_bytes) == (all_zero, len(content), content[:64])


@pytest.mark.parametrize("year", [1980, 1989, 2100, 2200])
def test_a_time_that_makes_no_sense_is_none(tmp_path: Path, file: Path, year: int) -> None:
    seconds = datetime(year, 6, 1, tzinfo=UTC).timestamp()
    os.utime(file, (seconds, seconds))
    assert observe_file(tmp_path, PATH).modified is None


def test_the_time_of_ntfs_comes_first(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moment = datetime(2024, 7, 19, 5, 27, tzinfo=UTC)
    ticks = datetime_to_filetime(moment)
    monkeypatch.setattr(observe, "read_times", lambda path: NtfsTimes(0, ticks + 9, 0, 0))
    assert observe_file(tmp_path, PATH).modified == moment
    monkeypatch.setattr(observe, "read_times", lambda path: NtfsTimes(0, 2**64 - 1, 0, 0))
    assert observe_file(tmp_path, PATH).modified is None


def test_the_access_time_stays(tmp_path: Path, file: Path) -> None:
    os.utime(file, (1_000_000_000, 1_100_000_000))
    observe_file(tmp_path, PATH)
    assert file.stat().st_atime == 1_000_000_000


def test_the_largest_and_one_more(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "SIZE_LIMIT", 1 << 20)
    file.write_bytes(bytes(1 << 20))
    assert observe_file(tmp_path, PATH).size == 1 << 20
    file.write_bytes(bytes((1 << 20) + 1))
    assert "larger than 1 MiB" in why(tmp_path)


def test_what_is_no_file(tmp_path: Path, file: Path) -> None:
    assert "not there" in why(tmp_path, "\\Windows\\none.sys")
    assert "not there" in why(tmp_path, "\\none\\none.sys")
    assert "not there" in why(tmp_path, "\\")
    assert "not a path" in why(tmp_path, "\\Windows\\..\\x.sys")
    assert "folder" in why(tmp_path, "\\Windows")
    file.unlink()
    os.mkfifo(file)
    assert "not a file" in why(tmp_path)
    file.unlink()
    file.symlink_to("/etc/passwd")
    assert "link" in why(tmp_path)


def test_a_link_on_the_way_is_not_followed(tmp_path: Path, file: Path) -> None:
    (tmp_path / "Other").symlink_to(tmp_path / "Windows")
    assert "link" in why(tmp_path, "\\Other\\System32\\drivers\\x.sys")


def test_two_names_that_differ_by_case(tmp_path: Path, file: Path) -> None:
    file.rename(file.with_name("X.sys"))
    file.with_name("x.SYS").write_bytes(b"")
    assert "differ by case" in why(tmp_path)


@pytest.mark.parametrize(
    ("attributes", "tag", "said"),
    [
        (FileAttributes.REPARSE_POINT, 0x80000017, "WOF"),
        (FileAttributes.REPARSE_POINT, 0x9000001A, "cloud"),
        (FileAttributes.REPARSE_POINT, 0x9000701A, "cloud"),
        (FileAttributes.REPARSE_POINT, 0x80000013, "deduplication"),
        (FileAttributes.REPARSE_POINT, 0xA0000003, "junction"),
        (FileAttributes.REPARSE_POINT, 0xA000000C, "symbolic link"),
        (FileAttributes.REPARSE_POINT, 0x8000001B, "0x8000001B"),
        (FileAttributes.REPARSE_POINT, None, "link"),
        (FileAttributes.ENCRYPTED, None, "EFS"),
        (FileAttributes.OFFLINE, None, "offline"),
        (FileAttributes.RECALL_ON_OPEN, None, "offline"),
        (FileAttributes.RECALL_ON_DATA_ACCESS, None, "offline"),
    ],
)
def test_bytes_that_are_not_simply_there(
    tmp_path: Path,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    attributes: FileAttributes,
    tag: int | None,
    said: str,
) -> None:
    monkeypatch.setattr(observe, "read_attributes", lambda path: attributes | FileAttributes.ARCHIVE)
    monkeypatch.setattr(observe, "read_reparse_tag", lambda path: tag)
    assert said in why(tmp_path)


def test_harmless_attributes_are_read(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    harmless = (
        FileAttributes.READONLY | FileAttributes.HIDDEN | FileAttributes.COMPRESSED | FileAttributes.SPARSE
    )
    monkeypatch.setattr(observe, "read_attributes", lambda path: harmless)
    assert observe_file(tmp_path, PATH).size == 108


def test_an_error_of_the_disk_is_said(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(observe, "_digest", fail)
    assert why(tmp_path) == "Input/output error"


def test_a_file_that_ends_early_is_said(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observe, "_digest", lambda descriptor: (b"", "", False, 107))
    assert "only 107 of its 108" in why(tmp_path)
