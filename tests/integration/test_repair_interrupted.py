"""Cuts: the program killed at every step, and the power at every write, of a repair and of an undo."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.bricked_volume import (
    FAULTY,
    FOLDERS,
    GOOD,
    LOOKALIKE,
    ZEROED,
    copy_volume,
    findings,
    make_volume,
    mounted,
    place,
    playbooks,
)
from support.ntfs_reader import read_independently
from support.write_log import Write, logged, read_log, replay

from unbrick.drill.truth import FileTruth
from unbrick.errors import NeedsHandsError
from unbrick.files import sync_directory
from unbrick.ntfs_file import write_acl
from unbrick.repair.apply import apply_plan
from unbrick.repair.plan import make_plan, new_run_id
from unbrick.repair.quarantine import inspect
from unbrick.repair.record import RunState
from unbrick.repair.resume import ResumeResult, find_unfinished, finish
from unbrick.repair.security import FOLDER_DESCRIPTOR
from unbrick.repair.undo import apply_undo, find_runs, plan_undo
from unbrick.repair.verify import verify_applied

Step = Callable[[], None]
Work = Callable[[Path, Step], None]
"""What is interrupted, given a mounted root and what to call at each step."""


@pytest.fixture(scope="module")
def bricked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enough neighbours for the folder's index to lie outside its record, as on a real machine."""
    folder = tmp_path_factory.mktemp("bricked")
    make_volume(folder / "volume.img", folder / "mount", neighbours=60)
    return folder / "volume.img"


@pytest.fixture(scope="module")
def repaired(bricked: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repaired")
    image = copy_volume(bricked, folder / "volume.img")
    with mounted(image, folder / "mount") as root:
        repair(root, lambda: None)
    return image


def repair(root: Path, step: Step, paths: Sequence[str] = (FAULTY, ZEROED)) -> None:
    def sync() -> None:
        step()
        sync_directory(root)
        step()

    done = apply_plan(
        root,
        make_plan(new_run_id(), findings(root, paths)),
        sync=sync,
        volume_was_dirty=False,
        playbooks=playbooks(),
        on_action=lambda action: None,
    )
    verify_applied(root, done)


def undo(root: Path, step: Step) -> None:
    def sync() -> None:
        step()
        sync_directory(root)
        step()

    plan = plan_undo(root, playbooks(), FOLDERS)
    apply_undo(root, plan, sync=sync, on_action=lambda action: None)


def resume(root: Path) -> tuple[ResumeResult, ...]:
    return tuple(
        finish(
            root,
            run,
            playbooks(),
            FOLDERS,
            sync=lambda: sync_directory(root),
            on_action=lambda action: None,
        )
        for run in find_unfinished(root, playbooks())
    )


def still_there(root: Path) -> list[str]:
    return [path for path in (FAULTY, ZEROED) if place(root, path).exists()]


def read(image: Path) -> dict[str, FileTruth]:
    with image.open("rb") as stream:
        return read_independently(stream)


def kill_at(number: int, root: Path, work: Work) -> bool:
    """Work in a child that is killed at its `number`-th step; whether it was."""
    child = os.fork()
    if not child:
        count = 0

        def step() -> None:
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)

        code = 1
        try:
            _step_at_changes(step)
            work(root, step)
            code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def _step_at_changes(step: Step) -> None:
    """In a child only: a step before and after every change of a name or of an attribute, and every write."""

    def stepping(real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            step()
            result = real(*arguments, **options)
            step()
            return result

        return call

    for name in ("link", "unlink", "rename", "mkdir", "setxattr", "pwrite", "open"):
        setattr(os, name, stepping(getattr(os, name)))


@pytest.mark.parametrize("part", range(4))
def test_a_repair_killed_anywhere_is_repaired_by_the_next_run(
    bricked: Path, tmp_path: Path, part: int
) -> None:
    number = 1 + part
    killed = True
    while killed:
        image = copy_volume(bricked, tmp_path / "volume.img")
        with mounted(image, tmp_path / "mount") as root:
            killed = kill_at(number, root, repair)
            resume(root)
            left = still_there(root)
            if left:
                repair(root, lambda: None, left)
            expect_repaired(root)
        number += 4
    assert number > 40


@pytest.mark.parametrize("part", range(2))
def test_an_undo_killed_anywhere_is_finished_exactly(
    bricked: Path, repaired: Path, tmp_path: Path, part: int
) -> None:
    before = outside(read(bricked))
    number = 1 + 3 * part
    killed = True
    while killed:
        image = copy_volume(repaired, tmp_path / "volume.img")
        with mounted(image, tmp_path / "mount") as root:
            killed = kill_at(number, root, undo)
            resume(root)
            if not still_there(root):
                undo(root, lambda: None)
            assert {run.state for run in find_runs(root)} == {RunState.UNDONE}
        assert outside(read(image)) == before
        number += 6
    assert number > 20


def outside(found: dict[str, FileTruth]) -> dict[str, FileTruth]:
    return {path: truth for path, truth in found.items() if not path.startswith("\\Unbrick") and path != "\\"}


def expect_repaired(root: Path) -> None:
    """Both files are in a quarantine, whole and found by a journal; nothing else is gone."""
    assert not still_there(root)
    assert place(root, GOOD).exists()
    assert place(root, LOOKALIKE).exists()
    assert find_unfinished(root, playbooks()) == ()
    recorded = {
        entry.sha256: root / "Unbrick" / run.run / entry.quarantined_as
        for run in find_runs(root)
        if run.state is RunState.REPAIRED
        for entry in run.header.entries
    }
    assert len(recorded) == 2
    for sha256, path in recorded.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256


def record(base: Path, work: Work, folder: Path) -> tuple[Write, ...]:
    """All that ntfs-3g writes to the disk during the work."""
    image = copy_volume(base, folder / "recorded.img")
    with (
        logged(image, folder / "log", folder / "export") as export,
        mounted(export, folder / "mount") as root,
    ):
        work(root, lambda: None)
    return read_log(folder / "log")


def after_cut(base: Path, image: Path, writes: Sequence[Write]) -> None:
    """The disk after a cut, with the mirror of the MFT's first records made good as ntfsfix does."""
    replay(base, image, writes)
    with image.open("r+b") as stream:
        boot = stream.read(512)
        cluster = struct.unpack_from("<H", boot, 11)[0] * boot[13]
        mft, mirror = (number * cluster for number in struct.unpack_from("<QQ", boot, 0x30))
        stream.seek(mft)
        first_records = stream.read(4096)
        stream.seek(mirror)
        stream.write(first_records)


def test_the_power_cut_at_any_write_of_a_repair(bricked: Path, tmp_path: Path) -> None:
    writes = record(bricked, repair, tmp_path)
    assert sum(write.flush for write in writes) >= 8
    for count in range(len(writes) + 1):
        image = tmp_path / "cut.img"
        after_cut(bricked, image, writes[:count])
        with mounted(image, tmp_path / "mount") as root:
            resume(root)
            left = still_there(root)
            if left:
                repair(root, lambda: None, left)
            expect_repaired(root)


def test_the_power_cut_with_writes_lost_that_were_not_flushed(bricked: Path, tmp_path: Path) -> None:
    """The disk may reorder what was not flushed.

    Where that leaves a file listed under a name that it does not have, only Windows can put that right: then
    this is said, and nothing is lost.
    """
    writes = record(bricked, repair, tmp_path)
    flushes = [0] + [index for index, write in enumerate(writes) if write.flush]
    chance = random.Random(20240719)
    for _ in range(40):
        count = chance.randrange(1, len(writes) + 1)
        durable = max(flush for flush in flushes if flush < count)
        lost = [write for write in writes[durable:count] if chance.random() < 0.5]
        image = tmp_path / "cut.img"
        after_cut(bricked, image, [*writes[:durable], *lost])
        with mounted(image, tmp_path / "mount") as root:
            if says_damaged(root):
                assert whole_files(root) == 2
                continue
            left = still_there(root)
            if left:
                repair(root, lambda: None, left)
            expect_repaired(root)


def test_the_power_cut_at_any_write_of_an_undo(bricked: Path, repaired: Path, tmp_path: Path) -> None:
    writes = record(repaired, undo, tmp_path)
    hands = 0
    for count in range(len(writes) + 1):
        image = tmp_path / "cut.img"
        after_cut(repaired, image, writes[:count])
        with mounted(image, tmp_path / "mount") as root:
            if says_damaged(root):
                hands += 1
            else:
                assert {run.state for run in find_runs(root)} <= {RunState.UNDONE, RunState.REPAIRED}
                assert len(still_there(root)) in (0, 2)
            assert whole_files(root) == 2
    assert hands <= len(writes) // 3


def says_damaged(root: Path) -> bool:
    """Resume; whether it was said that the file system contradicts itself. No other refusal is allowed."""
    try:
        resume(root)
    except NeedsHandsError as error:
        if error.reason != "damaged-volume":
            raise
        return True
    return False


def whole_files(root: Path) -> int:
    """How many of the two faulty files can be read whole, wherever they are."""
    wanted = {hashlib.sha256(bytes(9000)).hexdigest(), hashlib.sha256(_faulty()).hexdigest()}
    places = [place(root, FAULTY), place(root, ZEROED), *root.glob("Unbrick/*/*.bin")]
    found = {hashlib.sha256(path.read_bytes()).hexdigest() for path in places if path.exists()}
    return len(wanted & found)


def _faulty() -> bytes:
    return bytes.fromhex("aaaaaaaa01002301") + b"faulty" * 7000


def test_an_unfinished_journal_that_lies_is_not_finished(bricked: Path, tmp_path: Path) -> None:
    image = copy_volume(bricked, tmp_path / "volume.img")
    with mounted(image, tmp_path / "mount") as root:
        number = 60
        while not find_unfinished(root, playbooks()):
            kill_at(number, root, repair)
            number -= 1
        (run,) = find_unfinished(root, playbooks())
        place(root, FAULTY).write_bytes(b"a file that Windows wrote since")
        with pytest.raises(NeedsHandsError) as caught:
            resume(root)
        assert caught.value.reason == "bad-journal"
        assert place(root, FAULTY).read_bytes() == b"a file that Windows wrote since"
        assert run.run == find_unfinished(root, playbooks())[0].run


def test_what_a_cut_leaves_of_making_the_quarantine_is_swept_and_what_is_not_ours_stays(
    bricked: Path, tmp_path: Path
) -> None:
    image = copy_volume(bricked, tmp_path / "volume.img")
    with mounted(image, tmp_path / "mount") as root:
        for name in ("Unbrick.00000001.new", "Unbrick.00000002.new", "Unbrick.00000003.new"):
            (root / name).mkdir()
        write_acl(root / "Unbrick.00000001.new", FOLDER_DESCRIPTOR)
        write_acl(root / "Unbrick.00000003.new", FOLDER_DESCRIPTOR)
        (root / "Unbrick.00000003.new" / "kept").write_bytes(b"")
        assert inspect(root) is None
        repair(root, lambda: None)
        assert sorted(path.name for path in root.glob("Unbrick.*")) == [
            "Unbrick.00000002.new",
            "Unbrick.00000003.new",
        ]


@pytest.mark.parametrize("journal", [None, b"", b'{"journal": 1'])
def test_a_run_that_was_cut_before_its_header_is_passed_by(
    repaired: Path, tmp_path: Path, journal: bytes | None
) -> None:
    image = copy_volume(repaired, tmp_path / "volume.img")
    with mounted(image, tmp_path / "mount") as root:
        before = find_runs(root)
        folder = root / "Unbrick" / "20300719T061203Z-000001"
        folder.mkdir()
        write_acl(folder, FOLDER_DESCRIPTOR)
        if journal is not None:
            (folder / "journal.jsonl").write_bytes(journal)
            write_acl(folder / "journal.jsonl", FOLDER_DESCRIPTOR)
        assert find_runs(root) == before
        assert find_unfinished(root, playbooks()) == ()
        if journal is None:
            return
        (folder / "0001.bin").write_bytes(b"a file, and no journal that tells of it")
        with pytest.raises(NeedsHandsError) as caught:
            find_runs(root)
        assert caught.value.reason in ("bad-journal", "foreign-quarantine")
