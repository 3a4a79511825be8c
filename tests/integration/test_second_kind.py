"""A second kind of action goes the whole way of a repair, for one file and one line in the table of kinds.

`support.switch_file` is the file; `repair_worker` adds the line.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.bricked_volume import mounted, place
from support.drilled import Drills, cut_out
from support.ntfs_check import inconsistencies
from support.ntfs_reader import read_independently
from support.program import run_program
from support.repair_worker import RepairWorker, repair_worker
from support.switch_file import KEPT, OFF, ON, PATH, SwitchFile

from unbrick.drill.disk.truth import FileTruth
from unbrick.recovery.case import Goal
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.journal.document import encode_line, load

BOTH = {"quarantine-file", "switch-file"}


@pytest.fixture
def image(drills: Drills, tmp_path: Path) -> Path:
    disk = drills.copy("plain", tmp_path / "disks")
    image = tmp_path / "volume.img"
    cut_out(disk.image, disk.volume, image)
    with mounted(image, tmp_path / "mount") as root:
        place(root, PATH).parent.mkdir(exist_ok=True)
        place(root, PATH).write_bytes(ON)
    return image


@pytest.fixture
def worker() -> Iterator[RepairWorker]:
    with repair_worker("switch_file:SwitchFile") as worker:
        yield worker


def read(image: Path) -> dict[str, FileTruth]:
    with image.open("rb") as stream:
        assert inconsistencies(stream) == frozenset()
        return read_independently(stream)


def of_windows(found: dict[str, FileTruth]) -> dict[str, FileTruth]:
    return {path: one for path, one in found.items() if not path.startswith("\\Unbrick") and path != "\\"}


def kinds(said: dict[str, Any]) -> set[tuple[str, str]]:
    return {(one["kind"], one["state"]) for part in said["installations"] for one in part["actions"]}


def in_state(state: str) -> set[tuple[str, str]]:
    return {(kind, state) for kind in BOTH}


def content(image: Path, mount: Path) -> bytes:
    with mounted(image, mount, "ro") as root:
        return place(root, PATH).read_bytes()


def test_it_is_planned_done_listed_and_undone(image: Path, worker: RepairWorker, tmp_path: Path) -> None:
    before = read(image)
    assert kinds(worker.work(Goal.REPAIR, image, None, dry_run=True)) == in_state("planned")
    repaired = worker.work(Goal.REPAIR, image, None)
    assert (repaired["status"], kinds(repaired)) == ("repaired", in_state("done"))
    assert content(image, tmp_path / "mount") == OFF
    assert any(path.endswith(KEPT) for path in read(image))
    listed = worker.work(Goal.RUNS, image, None)["earlier"]
    assert (listed["run"], listed["state"]) == (repaired["run"], "repaired")
    undone = worker.work(Goal.UNDO, image, None)
    assert (undone["status"], kinds(undone)) == ("undone", in_state("undone"))
    assert of_windows(read(image)) == of_windows(before)
    assert not any(path.endswith(KEPT) for path in read(image))


@pytest.mark.parametrize("moment", [2, 3, 5, 8, 12])
def test_a_run_of_it_that_is_cut_off_is_finished(image: Path, worker: RepairWorker, moment: int) -> None:
    before = read(image)
    assert worker.work(Goal.REPAIR, image, None, dies_at=moment)["status"] == "failed"
    repaired = worker.work(Goal.REPAIR, image, None)
    assert (repaired["status"], kinds(repaired)) == ("repaired", in_state("done"))
    assert worker.work(Goal.UNDO, image, None, dies_at=moment)["status"] == "failed"
    undone = worker.work(Goal.UNDO, image, None)
    assert (undone["status"], undone["run"]) == ("undone", repaired["run"])
    assert kinds(undone) == in_state("undone")
    assert of_windows(read(image)) == of_windows(before)


@pytest.mark.parametrize("moment", [0, 3])
def test_it_is_purged(image: Path, worker: RepairWorker, moment: int) -> None:
    run = worker.work(Goal.REPAIR, image, None)["run"]
    if moment:
        assert worker.work(Goal.PURGE, image, None, run=run, dies_at=moment)["status"] == "failed"
        worker.work(Goal.REPAIR, image, None)  # which finishes it
    else:
        purged = worker.work(Goal.PURGE, image, None, run=run)
        assert (purged["status"], kinds(purged)) == ("scanned", {("delete-quarantined", "done")})
    assert not [path for path in read(image) if path.startswith("\\Unbrick")]


def test_its_planted_journal_does_nothing(image: Path, worker: RepairWorker, tmp_path: Path) -> None:
    worker.work(Goal.REPAIR, image, None)
    with mounted(image, tmp_path / "mount") as root:
        (journal,) = root.glob("Unbrick/*/journal.jsonl.gz")
        document = load(gzip.decompress(journal.read_bytes()).rpartition(b"\t")[0])
        document["entries"][-1]["data"]["path"] = "\\Windows\\Temp\\victim.txt"
        place(root, "\\Windows\\Temp\\victim.txt").write_bytes(OFF)
        journal.write_bytes(gzip.compress(encode_line(document)))
    before = image.read_bytes()
    refused = worker.work(Goal.UNDO, image, None)
    assert (refused["status"], refused["reason"]) == ("needs-hands", "bad-journal")
    assert image.read_bytes() == before


def test_a_program_without_it_does_not_guess(image: Path, worker: RepairWorker) -> None:
    assert SwitchFile.KIND not in KINDS
    worker.work(Goal.REPAIR, image, None)
    before = image.read_bytes()
    for verb in ("runs", "undo"):
        refused = run_program(verb, image, "--json", *(["--yes"] if verb == "undo" else [])).document
        assert (refused["status"], refused["reason"]) == ("needs-hands", "bad-journal")
        assert "kind of action" in refused["error"]
    assert image.read_bytes() == before
