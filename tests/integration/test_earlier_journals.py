"""A disk that was repaired before journals named kinds: its runs are listed, undone, finished and purged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support import earlier_repair
from support.bricked_volume import FAULTY, ZEROED
from support.ntfs_reader import read_independently
from support.program import run_program
from support.repair_worker import repair_worker

from unbrick.drill.disk.truth import FileTruth
from unbrick.recovery.case import Goal

pytestmark = pytest.mark.usefixtures("leaves_nothing")

NAME = "repaired-before-kinds"
FIRST, SECOND = "20261130T165713Z-539c73", "20261130T165718Z-86fccd"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    earlier_repair.unpack(NAME, tmp_path / "volume.img")
    return tmp_path / "volume.img"


@pytest.fixture
def before(tmp_path: Path) -> dict[str, FileTruth]:
    return _of_windows(earlier_repair.unpack(NAME, tmp_path / "as-before.img"))


def _read(image: Path) -> dict[str, FileTruth]:
    with image.open("rb") as stream:
        return read_independently(stream)


def _of_windows(found: dict[str, FileTruth]) -> dict[str, FileTruth]:
    return {path: one for path, one in found.items() if not path.startswith("\\Unbrick") and path != "\\"}


def _actions(document: dict[str, Any]) -> dict[str, str]:
    return {one["path"]: one["state"] for part in document["installations"] for one in part["actions"]}


def test_its_runs_are_listed(image: Path) -> None:
    runs = run_program("runs", image, "--json").document["runs"]
    assert [(one["run"], one["state"], one["program"]) for one in runs] == [
        (SECOND, "repaired", "0.1.0"),
        (FIRST, "undone", "0.1.0"),
    ]
    assert [{one["path"] for one in run["actions"]} for run in runs] == [{FAULTY, ZEROED}] * 2


def test_it_is_undone(image: Path, before: dict[str, FileTruth]) -> None:
    assert not {FAULTY, ZEROED} & _read(image).keys()
    undone = run_program("undo", image, "--yes", "--json").document
    assert (undone["status"], undone["run"]) == ("undone", SECOND)
    assert _actions(undone) == {FAULTY: "undone", ZEROED: "undone"}
    assert _of_windows(_read(image)) == before
    runs = run_program("runs", image, "--json").document["runs"]
    assert [(one["run"], one["state"]) for one in runs] == [(SECOND, "undone"), (FIRST, "undone")]
    assert run_program("repair", image, "--yes", "--json").document["status"] == "repaired"


@pytest.mark.parametrize("moment", [3, 4, 6, 9])
def test_an_undo_of_it_that_is_cut_off_is_finished(
    image: Path, before: dict[str, FileTruth], moment: int
) -> None:
    with repair_worker() as worker:
        assert worker.work(Goal.UNDO, image, None, dies_at=moment)["status"] == "failed"
        finished = worker.work(Goal.UNDO, image, None)
    assert (finished["status"], finished["run"]) == ("undone", SECOND)
    assert _of_windows(_read(image)) == before


@pytest.mark.parametrize(("run", "files"), [(FIRST, 0), (SECOND, 2)])
def test_its_runs_are_purged(image: Path, run: str, files: int) -> None:
    purged = run_program("purge", image, "--run", run, "--yes", "--json").document
    assert (purged["status"], len(_actions(purged))) == ("scanned", files)
    ours = [path for path in _read(image) if path.startswith("\\Unbrick\\")]
    (kept,) = {FIRST, SECOND} - {run}
    assert {path.split("\\")[2] for path in ours} == {kept}
