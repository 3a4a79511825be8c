"""A sure fault goes also where another file needs a person; a diagnosis foresees what a repair says."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from support.bricked_volume import fill, mounted
from support.drilled import KINDS, Drills, cut_out
from support.program import Ended, run_program

from unbrick.drill.disk.truth import FileTruth, read_truth, sha256_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_CROWDSTRIKE = Path("Windows/System32/drivers/CrowdStrike")
_UNSURE = "C-00000291-00000000-00000031.sys"
_UNSURE_PATH = "\\" + str(_CROWDSTRIKE / _UNSURE).replace("/", "\\")


@pytest.fixture
def image(drills: Drills, tmp_path: Path) -> Path:
    """The faulty Windows volume of a drill disk alone: a disk without a table, easily altered."""
    disk = drills.copy("plain", tmp_path / "disks")
    cut_out(disk.image, disk.volume, tmp_path / "volume.img")
    return tmp_path / "volume.img"


def _a_link(root: Path) -> None:
    (root / _CROWDSTRIKE / _UNSURE).symlink_to("nowhere.sys")


def _a_wof_file(root: Path) -> None:
    file = root / _CROWDSTRIKE / _UNSURE
    file.write_bytes(bytes(4096))
    data = struct.pack("<IHHIIII", 0x80000017, 16, 0, 1, 2, 1, 0)
    os.setxattr(file, "system.ntfs_reparse_data", data, follow_symlinks=False)


def _an_empty_file(root: Path) -> None:
    (root / _CROWDSTRIKE / _UNSURE).touch()


def _a_missing_driver(root: Path) -> None:
    (root / _CROWDSTRIKE / "csagent.sys").rename(root / "csagent.sys")


_UNSURE_ONES = pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (_a_link, "unreadable-file"),
        (_a_wof_file, "unreadable-file"),
        (_an_empty_file, "person-decides"),
    ],
    ids=["link", "WOF", "empty"],
)


def _altered(image: Path, folder: Path, alter: Callable[[Path], None]) -> tuple[FileTruth, ...]:
    with mounted(image, folder) as root:
        alter(root)
    return _truth(image, folder)


def _truth(image: Path, folder: Path) -> tuple[FileTruth, ...]:
    with mounted(image, folder) as root:
        return read_truth(root)


def _ending(ended: Ended) -> tuple[str, str | None, int]:
    return ended.document["status"], ended.document["reason"], ended.code


def _actions(ended: Ended) -> list[tuple[str, str]]:
    return [(one["path"], one["state"]) for i in ended.document["installations"] for one in i["actions"]]


@_UNSURE_ONES
def test_what_is_sure_is_taken_away_and_the_rest_named(
    image: Path, tmp_path: Path, alter: Callable[[Path], None], reason: str
) -> None:
    before = _altered(image, tmp_path / "mount", alter)
    digest = sha256_of(image)

    diagnosed = run_program("diagnose", image, "--json")
    assert _ending(diagnosed) == ("needs-hands", reason, 5)
    assert "a repair would take the faulty file away and leave the rest to a person" in diagnosed.err
    foreseen = run_program("repair", image, "--dry-run", "--json")
    assert _ending(foreseen) == ("needs-hands", reason, 5)
    ((faulty, state),) = _actions(foreseen)
    assert state == "planned"
    assert sha256_of(image) == digest

    repaired = run_program("repair", image, "--yes", "--json")
    assert _ending(repaired) == ("needs-hands", reason, 5)
    assert _actions(repaired) == [(faulty, "done")]
    assert repaired.document["error"].startswith("What is sure was taken away; the rest needs a person.")
    assert _UNSURE in repaired.document["error"]
    assert faulty.rpartition("\\")[2] not in repaired.document["error"]
    named = [f["path"] for i in repaired.document["installations"] for x in i["findings"] for f in x["files"]]
    assert named == [faulty, _UNSURE_PATH]
    assert faulty not in {one.path for one in _truth(image, tmp_path / "mount")}

    again = run_program("repair", image, "--yes", "--json")
    assert (_ending(again), _actions(again)) == (("needs-hands", reason, 5), [])
    undone = run_program("undo", image, "--yes", "--json")
    assert (_ending(undone), _actions(undone)) == (("undone", None, 0), [(faulty, "undone")])
    _expect_as_before(before, _truth(image, tmp_path / "mount"))


def test_a_person_reads_what_was_done_and_what_is_left(image: Path, tmp_path: Path) -> None:
    _altered(image, tmp_path / "mount", _a_link)
    said = run_program("repair", image, "--yes").out
    for words in (
        "NEEDS-HANDS",
        "moved to quarantine: \\Windows\\System32\\drivers\\CrowdStrike\\C-00000291",
        "What is sure was taken away; the rest needs a person.",
        f"({_UNSURE}). A person has to look: it is a link.",
        "to put it back: unbrick undo",
    ):
        assert words in said, said
    assert said.count("it is a link") == 1


def test_a_driver_that_is_missing_does_not_keep_the_fault(image: Path, tmp_path: Path) -> None:
    _altered(image, tmp_path / "mount", _a_missing_driver)
    repaired = run_program("repair", image, "--yes", "--json")
    assert _ending(repaired) == ("needs-hands", "unreadable-file", 5)
    assert [state for _, state in _actions(repaired)] == ["done"]
    assert "CSAgent" in repaired.document["error"]


def test_a_folder_that_is_gone_is_not_healthy(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    image = tmp_path / "volume.img"
    cut_out(disk.image, disk.volume, image)
    assert _ending(run_program("diagnose", image, "--json")) == ("healthy", None, 0)
    with mounted(image, tmp_path / "mount") as root:
        (root / _CROWDSTRIKE).rename(root / "hidden")
    assert _ending(run_program("diagnose", image, "--json")) == ("needs-hands", "unreadable-file", 5)


def test_every_spelling_of_a_folder_is_searched(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    image = tmp_path / "volume.img"
    cut_out(disk.image, disk.volume, image)

    def hide_beside(root: Path) -> None:
        other = root / _CROWDSTRIKE.parent / "crowdstrike"
        other.mkdir()
        (other / _UNSURE).write_bytes(bytes(9000))

    before = _altered(image, tmp_path / "mount", hide_beside)
    repaired = run_program("repair", image, "--yes", "--json")
    assert _ending(repaired) == ("repaired", None, 0)
    hidden = _UNSURE_PATH.replace("CrowdStrike", "crowdstrike")
    assert _actions(repaired) == [(hidden, "done")]
    assert hidden not in {one.path for one in _truth(image, tmp_path / "mount")}
    assert _ending(run_program("undo", image, "--yes", "--json")) == ("undone", None, 0)
    _expect_as_before(before, _truth(image, tmp_path / "mount"))


def _expect_as_before(before: Sequence[FileTruth], now: Sequence[FileTruth]) -> None:
    """Nothing differs but the quarantine, and the time of the folder that it lies in."""
    after = {one.path: one for one in now}
    kept = [one for one in before if one.path != "\\"]
    assert [after[one.path] for one in kept] == kept


def test_one_faulty_file_among_many_good_ones(image: Path, tmp_path: Path) -> None:
    def many(root: Path) -> None:
        content = bytes.fromhex("AAAAAAAA01002301")
        for number in range(1200):
            (root / _CROWDSTRIKE / f"C-00000291-00000001-{number:08}.sys").write_bytes(content)

    with mounted(image, tmp_path / "mount") as root:
        many(root)
    repaired = run_program("repair", image, "--yes", "--json")
    assert _ending(repaired) == ("repaired", None, 0)
    assert [state for _, state in _actions(repaired)] == ["done"]


def _too_many(root: Path) -> None:
    for number in range(65):
        (root / _CROWDSTRIKE / f"C-00000291-00000001-{number:08}.sys").write_bytes(bytes(100))


def _foreign_folder(root: Path) -> None:
    (root / "Unbrick").mkdir()


def _two_foreign_folders(root: Path) -> None:
    (root / "unbrick").mkdir()
    (root / "UNBRICK").mkdir()


def _nothing(root: Path) -> None:
    assert root.is_dir()


@pytest.mark.parametrize(
    "alter", [_nothing, fill, _too_many, _foreign_folder, _two_foreign_folders, _a_link, _a_missing_driver]
)
def test_a_diagnosis_says_what_a_repair_would(
    image: Path, tmp_path: Path, alter: Callable[[Path], None]
) -> None:
    with mounted(image, tmp_path / "mount") as root:
        alter(root)
    _expect_foreseen(image)


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"xts-256", "two-locked", "vmdk", "sectors-4096"}))
def test_a_diagnosis_of_every_kind_of_disk_says_what_a_repair_would(
    drills: Drills, tmp_path: Path, kind: str
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    _expect_foreseen(disk.image, "--keys", disk.keys)


def _expect_foreseen(image: Path, *options: str | Path) -> None:
    diagnosed = run_program("diagnose", image, *options, "--json")
    foreseen = run_program("repair", image, *options, "--dry-run", "--json")
    assert _ending(diagnosed) == _ending(foreseen)
    assert _findings(diagnosed) == _findings(foreseen)
    assert _actions(diagnosed) == []
    assert diagnosed.document["run"] is None


def _findings(ended: Ended) -> list[Any]:
    return [one["findings"] for one in ended.document["installations"]]


def test_the_diagnosis_of_a_hibernated_disk_shows_the_fault_and_what_is_in_the_way(
    drills: Drills, tmp_path: Path
) -> None:
    disk = drills.copy("hibernated", tmp_path / "disks")
    ended = run_program("diagnose", disk.image)
    assert ended.code == 5
    assert "NEEDS-HANDS" in ended.out
    assert "1 faulty file in" in ended.out
    assert "[hibernated]" in ended.out
    assert "as things stand, a repair would not take the faulty file away" in ended.out
    assert "what to do: unbrick repair" not in ended.out
