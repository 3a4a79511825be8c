from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.windows_tree import put_file

from unbrick.diagnosis import search
from unbrick.diagnosis.search import Candidates, Names, find_candidates, is_there
from unbrick.errors import Reason
from unbrick.incidents.pattern import parse_pattern


def _find(root: Path, *patterns: str, folder: str = r"\Windows") -> Candidates:
    return find_candidates(root, folder, [parse_pattern(pattern) for pattern in patterns])


def _paths(found: Candidates) -> list[str]:
    assert not found.troubles
    return [candidate.path for candidate in found.files]


def test_only_the_folders_that_a_pattern_names_are_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file(tmp_path, r"\Windows\System32\v\a1.sys", b"x" * 7)
    put_file(tmp_path, r"\Windows\System32\other\a1.sys", b"")
    listed = []

    def scandir(folder: Path) -> object:
        listed.append(folder.relative_to(tmp_path).as_posix())
        return real(folder)

    real = os.scandir
    monkeypatch.setattr(os, "scandir", scandir)
    found = _find(tmp_path, r"%SystemRoot%\System32\v\a*.sys", r"%SYSTEMROOT%\System32\v\a*.sys")
    assert [(one.path, one.size) for one in found.files] == [(r"\Windows\System32\v\a1.sys", 7)]
    assert listed == ["Windows", "Windows/System32", "Windows/System32/v"]


def test_names_are_compared_without_case_and_returned_as_they_are(tmp_path: Path) -> None:
    put_file(tmp_path, r"\WINDOWS\system32\V\A1.SYS", b"")
    put_file(tmp_path, r"\WINDOWS\system32\V\b.dat", b"")
    put_file(tmp_path, r"\WINDOWS\system32\V\ä.dat", b"")
    assert _paths(_find(tmp_path, r"%SystemRoot%\System32\v\a*.sys")) == [r"\WINDOWS\system32\V\A1.SYS"]
    assert _paths(_find(tmp_path, r"%SystemRoot%\System32\v\B.DAT")) == [r"\WINDOWS\system32\V\b.dat"]
    assert _paths(_find(tmp_path, r"%SystemRoot%\System32\v\Ä.DAT")) == [r"\WINDOWS\system32\V\ä.dat"]


def test_wildcards_in_folders(tmp_path: Path) -> None:
    for path in (r"\v\1\a.dat", r"\v\2\a.dat", r"\v\22\a.dat", r"\v\a.dat", r"\v\1\2\a.dat"):
        put_file(tmp_path, path, b"")
    assert _paths(_find(tmp_path, r"\v\?\a.dat")) == [r"\v\1\a.dat", r"\v\2\a.dat"]
    assert _paths(_find(tmp_path, r"\v\*\a.dat")) == [r"\v\1\a.dat", r"\v\22\a.dat", r"\v\2\a.dat"]


def test_nothing_where_a_folder_is_missing_or_is_a_file(tmp_path: Path) -> None:
    put_file(tmp_path, r"\Windows\System32", b"no folder")
    assert _paths(_find(tmp_path, r"%SystemRoot%\System32\v\a*.sys", r"\none\a.sys")) == []


def test_a_folder_that_is_a_link_is_a_trouble_and_not_entered(tmp_path: Path) -> None:
    put_file(tmp_path, r"\real\a.sys", b"")
    (tmp_path / "v").symlink_to(tmp_path / "real")
    for pattern in (r"\v\a.sys", r"\V\*.sys", r"\?\a.sys"):
        found = _find(tmp_path, pattern)
        assert found.files == ()
        assert [(t.path, t.reason) for t in found.troubles] == [(r"\v", Reason.UNREADABLE_FILE)]


def test_a_link_in_a_files_place_is_handed_back_for_the_reader_to_refuse(tmp_path: Path) -> None:
    (tmp_path / "a.sys").symlink_to("/etc/passwd")
    assert _paths(_find(tmp_path, r"\a.sys", r"\*.sys")) == [r"\a.sys"]


def _fails(*_: object, **__: object) -> object:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize("pattern", [r"\v\*.sys", r"\v\w\a.sys"])
def test_a_folder_that_cannot_be_listed_is_not_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str
) -> None:
    put_file(tmp_path, r"\v\w\a.sys", b"")
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda folder: _fails() if folder != tmp_path else real(folder))
    found = _find(tmp_path, pattern)
    assert [(t.path, t.reason) for t in found.troubles] == [(r"\v", Reason.UNREADABLE_FILE)]
    assert "Input/output error" in found.troubles[0].what


def test_what_cannot_be_looked_at_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_file(tmp_path, r"\v\a.sys", b"")
    monkeypatch.setattr(Path, "lstat", _fails)
    assert [t.path for t in _find(tmp_path, r"\*\a.sys").troubles] == [r"\v"]
    assert _find(tmp_path, r"\v\a.sys").troubles != ()
    # A file is handed back all the same: who reads it will say what is the matter.
    assert _paths(_find(tmp_path, r"\*")) == [r"\v"]


def test_a_huge_folder_ends_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        put_file(tmp_path, rf"\v\{number}.txt", b"")
    monkeypatch.setattr(search, "MAX_ENTRIES", 30)  # those, and the folder itself
    found = _find(tmp_path, r"\v\*.sys", r"\w\*.sys")
    assert [trouble.reason for trouble in found.troubles] == [Reason.TOO_MANY_FILES]
    monkeypatch.setattr(search, "MAX_ENTRIES", 31)
    assert _paths(_find(tmp_path, r"\v\*.sys")) == []


def test_too_many_files_to_read_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        put_file(tmp_path, rf"\v\{number}.sys", b"")
    monkeypatch.setattr(search, "MAX_CANDIDATES", 3)
    assert [t.reason for t in _find(tmp_path, r"\v\*.sys").troubles] == [Reason.TOO_MANY_FILES]
    monkeypatch.setattr(search, "MAX_CANDIDATES", 4)
    assert len(_paths(_find(tmp_path, r"\v\*.sys"))) == 4


def test_too_many_bytes_to_read_end_the_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(4):
        put_file(tmp_path, rf"\v\{number}.sys", b"12345")
    monkeypatch.setattr(search, "MAX_BYTES", 19)
    assert [t.reason for t in _find(tmp_path, r"\v\*.sys").troubles] == [Reason.TOO_MANY_FILES]
    monkeypatch.setattr(search, "MAX_BYTES", 20)
    assert len(_paths(_find(tmp_path, r"\v\*.sys"))) == 4
    monkeypatch.setattr(search, "SIZE_LIMIT", 4)  # larger ones are not read
    monkeypatch.setattr(search, "MAX_BYTES", 0)
    assert len(_paths(_find(tmp_path, r"\v\*.sys"))) == 4


def test_every_spelling_of_a_name_is_looked_at(tmp_path: Path) -> None:
    for path in (r"\Windows\V\A.sys", r"\Windows\v\a.sys", r"\Windows\v\A.SYS", r"\WINDOWS\v\b.sys"):
        put_file(tmp_path, path, b"")
    expected = [r"\Windows\V\A.sys", r"\Windows\v\A.SYS", r"\Windows\v\a.sys"]
    assert _paths(_find(tmp_path, r"%SystemRoot%\v\a.sys")) == expected
    assert _paths(_find(tmp_path, r"%SystemRoot%\V\*.sys")) == expected
    # From the root, the other Windows is meant as well; as an installation it is one of its own.
    assert len(_paths(_find(tmp_path, r"\windows\v\?.sys"))) == 4


@pytest.mark.parametrize(
    ("path", "there"),
    [
        (r"\windows\v\a.sys", True),
        (r"\windows\v\link.sys", True),
        (r"\windows\v\b.sys", False),
        (r"\windows\w\a.sys", False),
        (r"\windows\v\a.sys\b", False),
    ],
)
def test_whether_something_is_there(tmp_path: Path, path: str, there: bool) -> None:
    put_file(tmp_path, r"\Windows\V\x.sys", b"")
    put_file(tmp_path, r"\Windows\v\A.sys", b"")
    (tmp_path / "Windows" / "v" / "link.sys").symlink_to("nowhere")
    assert is_there(tmp_path, path, Names()) is there


def test_what_cannot_be_listed_is_not_taken_for_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "scandir", _fails)
    assert is_there(tmp_path, r"\v\a.sys", Names())


def test_a_name_that_is_no_valid_text_is_left_to_a_person(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a\xff.sys")).write_bytes(b"")
    found = _find(tmp_path, r"\*.sys")
    assert found.files == ()
    assert "no valid text" in found.troubles[0].what
