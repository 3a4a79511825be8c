from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from unbrick.drill.faults import CROWDSTRIKE, Victim, fault_maker
from unbrick.drill.options import dice
from unbrick.drill.planned import PlannedFile
from unbrick.drill.tree import TreeOptions, plan_volume
from unbrick.errors import UsageError
from unbrick.ntfs_file import filetime_to_datetime

_FAULT = "crowdstrike-cf291"
_HEADER = bytes.fromhex("AAAAAAAA01002301")
_FROM = datetime(2024, 7, 19, 4, 9, tzinfo=UTC)
_GOOD = datetime(2024, 7, 19, 5, 27, tzinfo=UTC)


def _options(files: int = 100, fault: str | None = _FAULT, variant: int = 0) -> TreeOptions:
    hives = {"SYSTEM": b"regf", "SOFTWARE": b"regf"}
    return TreeOptions(1, files, 10_000_000, fault, variant, hibernated=False, hives=hives)


def _files(options: TreeOptions) -> list[PlannedFile]:
    return list(plan_volume(options, dice("tree")).files)


def _matching(files: Sequence[PlannedFile]) -> list[PlannedFile]:
    pattern = f"{CROWDSTRIKE}\\C-00000291*.sys".casefold()
    return [
        file
        for file in files
        if file.path.rpartition("\\")[0] == CROWDSTRIKE and fnmatch.fnmatchcase(file.path.casefold(), pattern)
    ]


def _looks_faulty(file: PlannedFile) -> bool:
    modified = filetime_to_datetime(file.times.modified)
    assert modified is not None
    in_that_hour = _FROM <= modified < _GOOD
    return (file.content.startswith(_HEADER) and in_that_hour) or not any(file.content)


@pytest.mark.parametrize("variant", range(4))
def test_exactly_what_the_incident_made_is_marked_faulty(variant: int) -> None:
    files = _files(_options(variant=variant))
    matching = _matching(files)
    assert {file.path for file in files if file.faulty} == {
        file.path for file in matching if _looks_faulty(file)
    }
    assert any(file.faulty for file in matching)
    # An older one is always there, and must stay.
    assert any(not file.faulty for file in matching)


def test_the_shapes_of_the_fault_differ() -> None:
    shapes = [_matching(_files(_options(variant=variant))) for variant in range(4)]
    faulty = [[file for file in shape if file.faulty] for shape in shapes]
    assert [len(files) for files in faulty] == [1, 1, 1, 2]
    assert [sum(not any(file.content) for file in files) for files in faulty] == [0, 1, 0, 1]
    good = [
        [file for file in shape if (filetime_to_datetime(file.times.modified) or _FROM) >= _GOOD]
        for shape in shapes
    ]
    assert [len(files) for files in good] == [0, 0, 1, 0]
    assert faulty[3][0].links
    assert all(files[0].short_name and files[0].streams for files in faulty[:3])


def test_a_healthy_machine_has_the_good_file_and_no_other() -> None:
    files = _files(_options(fault=None))
    assert not any(file.faulty for file in files)
    assert not any(_looks_faulty(file) for file in _matching(files))
    assert any((filetime_to_datetime(file.times.modified) or _FROM) >= _GOOD for file in _matching(files))


def test_look_alikes_are_there_and_are_told_apart_by_place_or_name_only() -> None:
    files = list(fault_maker(_FAULT)(dice("x"), Victim("\\Users\\a\\Documents", 0)))
    inside = {file.path for file in _matching(files)}
    alike = [file for file in files if "C-00000291" in file.path and file.path not in inside]
    assert len(alike) == 6
    assert not any(file.faulty for file in alike)
    assert sum(_looks_faulty(file) for file in alike) == 5
    assert any(file.path.startswith("\\Users\\a\\Documents\\") for file in alike)


def test_every_file_has_a_folder_and_a_name_of_its_own() -> None:
    plan = plan_volume(_options(files=500), dice("tree"))
    folders = {folder.path.casefold() for folder in plan.folders}
    for folder in plan.folders:
        above = folder.path.rpartition("\\")[0]
        assert not above or above.casefold() in folders
    paths = [name.casefold() for file in plan.files for name in (file.path, *file.links)]
    paths += [junction.path.casefold() for junction in plan.junctions]
    assert len(set(paths)) == len(paths)
    assert not set(paths) & folders
    for path in paths:
        above = path.rpartition("\\")[0]
        assert not above or above in folders


def test_the_same_seed_gives_the_same_tree_and_the_number_of_files_is_kept() -> None:
    assert _files(_options()) == _files(_options())
    assert len(_files(_options(files=150))) - len(_files(_options(files=100))) == 50


def test_files_stay_within_their_budget() -> None:
    budget = 400_000
    options = TreeOptions(1, 1000, budget, None, 0, hibernated=False, hives={})
    ordinary = _files(options)[-1000:]
    assert budget * 0.8 < sum(len(file.content) for file in ordinary) < budget * 1.1


def test_times_are_in_order_and_before_the_incident_except_the_product() -> None:
    for file in _files(_options()):
        assert file.times.created <= file.times.modified <= file.times.accessed


def test_hibernation_leaves_its_file() -> None:
    options = TreeOptions(1, 0, 0, None, 0, hibernated=True, hives={})
    saved = [file for file in _files(options) if file.path == "\\hiberfil.sys"]
    assert [file.content[:4] for file in saved] == [b"HIBR"]
    assert not [file for file in _files(_options()) if file.path == "\\hiberfil.sys"]


def test_a_playbook_that_no_drill_can_play_is_refused() -> None:
    with pytest.raises(UsageError, match="no-such-thing"):
        plan_volume(_options(fault="no-such-thing"), dice("tree"))
