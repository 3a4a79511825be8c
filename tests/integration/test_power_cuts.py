"""The power cut at any moment of a repair and of an undo, on what the whole program really writes to a disk.

Each is recorded once, write by write, and every disk that a cut can leave is run again and judged: it must
then be repaired, or as it was before, in every byte that another reader sees. The count of states with lost
and torn writes is multiplied by UNBRICK_POWER_CUTS (default 1); their seed is UNBRICK_POWER_CUTS_SEED.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from dissect.fve.bde import BDE
from support.cut_judge import Verdict, judge, judge_cut
from support.drilled import Drilled, Drills, cut_out
from support.ntfs_reader import partition_view
from support.ntfs_states import MIB, restart_page, write_log
from support.power_cut import CutState, different, durable_states, lossy_states, states_in_order
from support.program import run_program
from support.repair_worker import RepairWorker, repair_worker
from support.write_log import Write, logged, read_log, replay

from unbrick.drill.disk.truth import VolumeTruth
from unbrick.recovery.case import Goal

_TIMES = float(os.environ.get("UNBRICK_POWER_CUTS", "1"))
_SEED = os.environ.get("UNBRICK_POWER_CUTS_SEED", "1")
_UNDO_EVERY = 6
_GROWTH = 4 << 20


@dataclass(frozen=True)
class Recording:
    """One run of the program on a disk: the disk before it, and all that was written, in order."""

    name: str
    verb: Goal
    base: Path
    keys: Path | None
    volume: VolumeTruth
    writes: tuple[Write, ...]
    open_volume: Callable[[Path], Any]
    bare: bool
    run: str

    @property
    def crashed(self) -> bool:
        """Its Windows had crashed: the journal is reset first, and the volume left for Windows to check."""
        return "crashed" in self.name


def record(drills: Drills, kind: str, verb: Goal, folder: Path, *, bare: bool) -> Recording:
    """Run the program from outside on a disk that keeps a log. `bare`: a disk that is all one volume.

    There each write is seen as it is made; a partition's go through the kernel's cache first, as a
    machine's do.
    """
    disk = drills.copy(kind, folder / "disks")
    suffix = disk.image.suffix
    base, volume = folder / f"base{suffix}", disk.volume
    if bare:
        cut_out(disk.image, volume, base)
        volume = replace(volume, offset=0)
    else:
        shutil.move(disk.image, base)
        if suffix != ".img":
            os.truncate(base, base.stat().st_size + _GROWTH)  # what keeps the log cannot grow
    if verb is Goal.UNDO:
        assert run_program("repair", base, "--keys", disk.keys, "--yes", "--json").document["run"]
    replay(base, folder / "recorded.raw", ())
    with logged(folder / "recorded.raw", folder / "log", folder / f"export{suffix}") as export:
        ended = run_program(verb.value, export, "--keys", disk.keys, "--yes", "--json")
        assert ended.document["status"] in ("repaired", "undone"), ended.said
    writes = read_log(folder / "log")
    opener = _opener(disk, volume, base)
    keys = disk.keys if volume.protector else None
    return Recording(
        f"{verb.value} {kind}", verb, base, keys, volume, writes, opener, bare, ended.document["run"]
    )


def _opener(disk: Drilled, volume: VolumeTruth, base: Path) -> Callable[[Path], Any]:
    """How to read a volume of a state, independently of the program; the password is stretched once."""
    key: bytes | None = None
    if volume.protector is not None:
        with base.open("rb") as stream:
            locked = BDE(partition_view(stream, volume.offset, volume.length))
            locked.unlock_with_recovery_password(disk.passwords()[volume.protector])
            key = locked._fvek

    @contextmanager
    def open_volume(image: Path) -> Iterator[BinaryIO]:
        raw = image
        if image.suffix != ".img":
            raw = image.with_suffix(".img")
            subprocess.run(["qemu-img", "convert", "-O", "raw", image, raw], check=True)
        with raw.open("rb") as stream:
            view = partition_view(stream, volume.offset, volume.length)
            if key is None:
                yield view
            else:
                yield cast(BinaryIO, BDE(view).unlock_with_fvek(key).open())

    return open_volume


def run_all(recording: Recording, states: list[CutState], image: Path) -> list[str]:
    """Run the program again on each state and judge it, and undo a sample; gives what is wrong."""
    kinds: Counter[str] = Counter()
    wrong: list[str] = []
    with repair_worker() as worker:
        for number, state in enumerate(states):
            replay(recording.base, image, state.writes)
            complaints = judge_cut(lambda: recording.open_volume(image)) if recording.bare else []
            # An undo that was cut is finished by the same command, and by a repair on its way.
            undoing = recording.verb is Goal.UNDO and number % 3 < 2
            said = _run(worker, recording, image, Goal.UNDO if undoing else Goal.REPAIR)
            verdict = _judge(recording, image, said, undoing=undoing)
            complaints += verdict.complaints
            kinds[verdict.kind] += 1
            if number % _UNDO_EVERY == 0 and not complaints:
                complaints += _undo(worker, recording, image, said)
            wrong += [f"{recording.name}, {state.name}: {one}" for one in complaints[:4]]
    print(f"{recording.name}: {len(states)} states, {dict(sorted(kinds.items()))}")
    return wrong


def _run(worker: RepairWorker, recording: Recording, image: Path, goal: Goal) -> dict[str, Any]:
    return worker.work(goal, image, recording.keys)


def _judge(recording: Recording, image: Path, said: dict[str, Any], *, undoing: bool) -> Verdict:
    return judge(
        recording.volume,
        lambda: recording.open_volume(image),
        said,
        undoing=undoing,
        to_check=recording.crashed,
    )


def _undo(worker: RepairWorker, recording: Recording, image: Path, said: dict[str, Any]) -> list[str]:
    if said["status"] not in ("repaired", "healthy"):
        return []
    undone = _run(worker, recording, image, Goal.UNDO)
    verdict = _judge(recording, image, undone, undoing=True)
    if undone["status"] != "undone":
        return [f"a repair that cannot be undone: {undone['error']}"]
    return [f"undone: {one}" for one in verdict.complaints]


def lossy(recording: Recording, count: int, *, torn: bool) -> list[CutState]:
    return different(lossy_states(recording.writes, _SEED, torn=torn), round(count * _TIMES), set())


@pytest.fixture(scope="module")
def bare_repair(drills: Drills, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(drills, "plain", Goal.REPAIR, tmp_path_factory.mktemp("repair"), bare=True)


@pytest.fixture(scope="module")
def bare_undo(drills: Drills, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return record(drills, "plain", Goal.UNDO, tmp_path_factory.mktemp("undo"), bare=True)


def test_at_every_flush_of_a_repair_the_next_run_ends_it(bare_repair: Recording, tmp_path: Path) -> None:
    states = different(durable_states(bare_repair.writes), 1000, set())
    # The redo record, the dirty flag, the change, the flag taken back, the record away: each is durable
    # before the next.
    assert len(states) == 6
    assert run_all(bare_repair, states, tmp_path / "cut.img") == []


def test_after_any_write_of_a_repair_the_next_run_ends_it(bare_repair: Recording, tmp_path: Path) -> None:
    states = different(states_in_order(bare_repair.writes), 1000, set())
    assert run_all(bare_repair, states, tmp_path / "cut.img") == []


@pytest.mark.parametrize("torn", [False, True], ids=["lost", "torn"])
def test_unflushed_writes_of_a_repair_may_be_lost(bare_repair: Recording, tmp_path: Path, torn: bool) -> None:
    assert run_all(bare_repair, lossy(bare_repair, 40, torn=torn), tmp_path / "cut.img") == []


@pytest.mark.parametrize("flush", [1, 2, 3, 4])
def test_a_disk_that_waits_to_be_finished_is_seen_to(
    bare_repair: Recording, tmp_path: Path, flush: int
) -> None:
    """Looking says so and writes nothing; the next repair is the one that was cut off, with all it did."""
    image = tmp_path / "cut.img"
    state = different(durable_states(bare_repair.writes), 1000, set())[flush]
    replay(bare_repair.base, image, state.writes)
    as_cut = image.read_bytes()
    looked = run_program("diagnose", image, "--json")
    assert looked.document["status"] == "found"
    assert "cut off" in looked.err
    assert "cut off" in run_program("scan", image).said
    planned = run_program("repair", image, "--dry-run", "--json").document
    assert planned["status"] == "found"
    assert [action["state"] for action in planned["installations"][0]["actions"]] == ["planned"]
    assert image.read_bytes() == as_cut
    repaired = run_program("repair", image, "--yes", "--json").document
    assert (repaired["status"], repaired["run"]) == ("repaired", bare_repair.run)
    assert [action["state"] for action in repaired["installations"][0]["actions"]] == ["done"]


def test_a_disk_that_was_started_halfway_is_not_written_to(bare_repair: Recording, tmp_path: Path) -> None:
    """Windows has opened it, and so the record says nothing any more: not one byte, until it was checked."""
    image = tmp_path / "cut.img"
    flushes = [index for index, write in enumerate(bare_repair.writes) if write.flush]
    change = bare_repair.writes[flushes[1] + 1 : flushes[2]]
    assert len(change) > 4
    replay(bare_repair.base, image, (*bare_repair.writes[: flushes[1]], *change[1::2]))
    page = restart_page(current=0x4000, oldest=0x3000, clean=True, size=2 * MIB)
    write_log(image, page, page)
    as_opened = image.read_bytes()
    for verb in ("diagnose", "repair", "undo"):
        said = run_program(verb, image, "--json", *([] if verb == "diagnose" else ["--yes"])).document
        assert (said["status"], said["reason"]) == ("needs-hands", "damaged-volume"), verb
        assert image.read_bytes() == as_opened


def test_at_every_flush_of_an_undo_the_next_run_ends_it(bare_undo: Recording, tmp_path: Path) -> None:
    states = different(durable_states(bare_undo.writes), 1000, set())
    assert len(states) == 6
    assert run_all(bare_undo, states, tmp_path / "cut.img") == []


@pytest.mark.parametrize("torn", [False, True], ids=["lost", "torn"])
def test_unflushed_writes_of_an_undo_may_be_lost(bare_undo: Recording, tmp_path: Path, torn: bool) -> None:
    states = lossy(bare_undo, 30, torn=torn)
    if not torn:
        states += different(states_in_order(bare_undo.writes), 1000, set())
    assert run_all(bare_undo, states, tmp_path / "cut.img") == []


@pytest.mark.parametrize(
    ("kind", "count"),
    [("plain", 16), ("crashed", 16), ("xts-128", 6), ("sectors-4096", 6), ("qcow2", 6), ("vhdx", 6)],
)
def test_the_power_cut_on_a_whole_disk(drills: Drills, tmp_path: Path, kind: str, count: int) -> None:
    """With the kernel's cache, BitLocker or an image's format in between: a sync reaches what lies below."""
    recording = record(drills, kind, Goal.REPAIR, tmp_path, bare=False)
    flushed = different(durable_states(recording.writes), 1000, set())
    assert len(flushed) >= 6
    states = flushed + lossy(recording, count, torn=False) + lossy(recording, count // 4, torn=True)
    assert run_all(recording, states, tmp_path / f"cut{recording.base.suffix}") == []
