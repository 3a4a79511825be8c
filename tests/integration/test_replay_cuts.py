"""The power cut at any sector while a crashed Windows' journal is replayed: the next run goes on with it."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.damage.bases import Bases
from support.damage.judge import is_changed
from support.damage.paths import FAULTY
from support.ntfs_reader import read_independently
from support.ntfs_states import PAGE, log_runs
from support.repair_worker import RepairWorker, repair_worker
from support.write_log import Write, logged, read_log, replay

from unbrick.drill.disk.truth import FileTruth
from unbrick.recovery.case import Goal

_SECTOR = 512
_KEPT = (1, 4, 7)


@dataclass(frozen=True)
class Recording:
    """A repair that began with a replay: the volume before it, what was written, and what the files are then.

    `closing` is the number of the first write to the journal, `closed` of the flush after the last.
    """

    volume: Path
    writes: tuple[Write, ...]
    files: dict[str, FileTruth]
    closing: int
    closed: int


@pytest.fixture(scope="module")
def worker() -> Iterator[RepairWorker]:
    with repair_worker() as worker:
        yield worker


@pytest.fixture(scope="module", params=["the first page is newest", "the second page is newest"])
def recording(
    request: pytest.FixtureRequest, worker: RepairWorker, tmp_path_factory: pytest.TempPathFactory
) -> Recording:
    folder = tmp_path_factory.mktemp("pending")
    volume = Bases(folder, worker).get("pending").plain
    log = log_runs(volume)[1][0].offset or 0
    if "second" in request.param:
        _make_older(volume, log)
    image = folder / "repaired.img"
    replay(volume, image, ())
    with logged(image, folder / "log", folder / "export.img") as export:
        said = worker.work(Goal.REPAIR, export, None)
        assert said["status"] == "repaired", said
    writes = read_log(folder / "log")
    closing = [at for at, one in enumerate(writes) if log <= one.offset < log + 2 * PAGE and not one.flush]
    return Recording(volume, writes, files_of(image), closing[0], closing[-1] + 1)


def _make_older(volume: Path, log: int) -> None:
    """Have the first restart page be older by a little: the second is then the one that is believed."""
    with volume.open("r+b") as stream:
        newest = int.from_bytes(os.pread(stream.fileno(), 8, log + 0x30), "little")
        os.pwrite(stream.fileno(), (newest - 1).to_bytes(8, "little"), log + 0x30)


def files_of(image: Path) -> dict[str, FileTruth]:
    """Every file but a run's own, by a reader of another make."""
    with image.open("rb") as stream:
        return {
            path: found
            for path, found in read_independently(stream).items()
            if found.kind != "folder" and not path.startswith("\\Unbrick")
        }


def torn(writes: tuple[Write, ...], first: int, end: int) -> Iterator[tuple[str, tuple[Write, ...]]]:
    """Each disk that a cut leaves where one of these writes is the last, its beginning or its end.

    All that was written since the last flush is torn alike.
    """
    for index in range(first, end):
        durable = max((at for at in range(index) if writes[at].flush), default=0)
        lost = writes[durable : index + 1]
        if writes[index].flush:
            continue
        for count in _KEPT:
            for name, kept in (("first", slice(count)), ("last", slice(-count, None))):
                done = [
                    Write(one.offset + at, one.data[at : at + _SECTOR], False)
                    for one in lost
                    for at in range(0, len(one.data), _SECTOR)[kept]
                ]
                yield f"{name} {count} sectors of write {index}", (*writes[:durable], *done)
        yield f"all of write {index}", writes[: index + 1]


def run_again(worker: RepairWorker, recording: Recording, writes: tuple[Write, ...], image: Path) -> str:
    """What the next run says of a disk after a cut; "different" where a file is not as it should be."""
    before = image.with_name("cut.img")
    replay(recording.volume, before, writes)
    replay(before, image, ())
    said = worker.work(Goal.REPAIR, image, None)
    if said["status"] == "repaired":
        return "repaired" if files_of(image) == recording.files else "different"
    return f"{said['status']} ({said['reason']})" if not is_changed(before, image) else "written to"


def test_a_cut_while_the_journal_is_closed(
    recording: Recording, worker: RepairWorker, tmp_path: Path
) -> None:
    """At no moment is none of the two restart pages whole and true."""
    assert FAULTY not in recording.files
    ends = {
        name: run_again(worker, recording, writes, tmp_path / "image.img")
        for name, writes in torn(recording.writes, recording.closing, recording.closed)
    }
    assert len(ends) == 2 * (2 * len(_KEPT) + 1)
    assert {name: end for name, end in ends.items() if end != "repaired"} == {}


@pytest.mark.parametrize("recording", ["the first page is newest"], indirect=True)
def test_a_cut_while_what_the_journal_tells_is_written(
    recording: Recording, worker: RepairWorker, tmp_path: Path
) -> None:
    """A record of the file table may be torn then: that needs a person, and the disk stays as it is."""
    assert recording.closing > 2
    ends = Counter(
        run_again(worker, recording, writes, tmp_path / "image.img")
        for _, writes in torn(recording.writes, 0, recording.closing)
    )
    assert ends.keys() == {"repaired", "needs-hands (unclean-log)"}
    assert ends["repaired"] > ends["needs-hands (unclean-log)"]


@pytest.mark.parametrize("place", [0, 1])
def test_a_restart_page_that_windows_left_torn_is_stood_in_for(
    recording: Recording, worker: RepairWorker, tmp_path: Path, place: int
) -> None:
    image = tmp_path / "image.img"
    replay(recording.volume, image, ())
    log = log_runs(image)[1][0].offset or 0
    with image.open("r+b") as stream:
        os.pwrite(stream.fileno(), b"??", log + place * PAGE + 1022)
    said = worker.work(Goal.REPAIR, image, None)
    assert said["status"] == "repaired", said
    assert files_of(image) == recording.files
    assert subprocess.run(["ntfs-3g.probe", "--readwrite", image], check=False).returncode == 0
