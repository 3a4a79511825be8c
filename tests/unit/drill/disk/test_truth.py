from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from support.truth_file import differences, volume_truth

from unbrick.drill.disk.truth import FileTruth, VolumeTruth, sha256_of
from unbrick.drill.fleet import _volume_text

_FOLDER = "\\Windows\\CrowdStrike"
_FAULTY = f"{_FOLDER}\\bad.sys"
_STAYS = f"{_FOLDER}\\good.sys"


def _entry(path: str, kind: str = "file", links: int = 1, sha256: str | None = None) -> FileTruth:
    digest = (sha256 or path) if kind == "file" else None
    return FileTruth(path, kind, digest, 5, 1, 2, 3, 32, None, "acl", {"a": "b"}, links)


_FILES = (
    _entry("\\", "folder"),
    _entry("\\Windows", "folder"),
    _entry(_FOLDER, "folder"),
    _entry(_FAULTY, links=2, sha256="same"),
    _entry(_STAYS),
    _entry("\\other.bin", links=2, sha256="same"),
    _entry("\\hiberfil.sys"),
)
_TRUTH = VolumeTruth(3, 0, 10, "PC-1", "ID", (_FAULTY,), ("\\hiberfil.sys",), _FILES)


def _after_repair(entry: FileTruth) -> FileTruth:
    if entry.path in {"\\", _FOLDER}:
        return replace(entry, modified=99, accessed=99)
    return replace(entry, links=1) if entry.path == "\\other.bin" else entry


_REPAIRED = (
    *(_after_repair(entry) for entry in _FILES if entry.path != _FAULTY),
    _entry("\\Unbrick", "folder"),
    _entry("\\Unbrick\\run\\0001"),
)


def test_untouched_and_undone_are_as_before() -> None:
    assert differences(_TRUTH, _FILES, repaired=False) == ()
    assert differences(_TRUTH, (*_FILES, _entry("\\Unbrick", "folder")), repaired=False) == ()


def test_a_right_repair_leaves_nothing_to_say() -> None:
    assert differences(_TRUTH, _REPAIRED, repaired=True) == ()


def test_every_kind_of_harm_is_told() -> None:
    stayed = next(entry for entry in _REPAIRED if entry.path == _STAYS)
    others = tuple(entry for entry in _REPAIRED if entry is not stayed)
    assert differences(_TRUTH, others, repaired=True) == (f"{_STAYS} is missing",)
    changes: tuple[dict[str, object], ...] = (
        {"sha256": "other"},
        {"size": 6},
        {"created": 0},
        {"modified": 0},
        {"accessed": 0},
        {"attributes": 33},
        {"short_name": "GOOD~1.SYS"},
        {"acl": "other"},
        {"streams": {}},
        {"links": 2},
    )
    for change in changes:
        harmed = replace(stayed, **change)  # type: ignore[arg-type]
        (said,) = differences(_TRUTH, (*others, harmed), repaired=True)
        assert said.startswith(f"{_STAYS}: {next(iter(change))} was")
    assert differences(_TRUTH, (*_REPAIRED, _entry("\\new.txt")), repaired=True) == ("\\new.txt is new",)
    assert differences(_TRUTH, (*_REPAIRED, _entry("\\Unbricked")), repaired=True) == ("\\Unbricked is new",)
    assert f"{_FAULTY} is still there" in differences(_TRUTH, _FILES, repaired=True)
    assert f"{_FAULTY} is missing" in differences(_TRUTH, _REPAIRED, repaired=False)


def test_only_folders_that_a_repair_works_in_may_have_new_times() -> None:
    moved = tuple(replace(entry, modified=99) if entry.path == "\\Windows" else entry for entry in _REPAIRED)
    assert len(differences(_TRUTH, moved, repaired=True)) == 1
    undone = tuple(replace(entry, modified=99) if entry.path == _FOLDER else entry for entry in _FILES)
    assert len(differences(_TRUTH, undone, repaired=False)) == 1


def test_what_may_change_may_also_go() -> None:
    without = tuple(entry for entry in _FILES if entry.path != "\\hiberfil.sys")
    assert differences(_TRUTH, without, repaired=False) == ()


def test_a_truth_survives_its_document() -> None:
    assert volume_truth(json.loads(_volume_text(_TRUTH))) == _TRUTH


def test_a_part_of_a_file_has_its_own_digest(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abcdef")
    assert sha256_of(path, 2, 2) == "21e721c35a5823fdb452fa2f9f0a612c74fb952e06927489c6b27a43b817bed4"
    assert sha256_of(path, 2) != sha256_of(path)
