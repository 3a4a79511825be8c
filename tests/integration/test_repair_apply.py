"""Repair on a real NTFS: what is moved, what stays, and what is refused before anything is written."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.bricked_volume import (
    CROWDSTRIKE,
    FAULTY,
    FOLDERS,
    GOOD,
    LOOKALIKE,
    PLAYBOOK,
    ZEROED,
    add_unlisted_name,
    copy_volume,
    findings,
    make_volume,
    mounted,
    odd_descriptor,
    place,
    playbooks,
)
from support.changing import change
from support.ntfs_reader import read_independently

from unbrick.disks.change.views import ChangeOptions
from unbrick.disks.plain import PlainVolume
from unbrick.drill.disk.truth import FileTruth
from unbrick.errors import FailedError, NeedsHandsError
from unbrick.events.run_id import new_run_id
from unbrick.model import Action, ActionState, Plan, RunState
from unbrick.processes.command import SystemRunner
from unbrick.repair.quarantine import find_homes
from unbrick.repair.repair import apply_plan, make_plan, verify_applied
from unbrick.repair.security import FILE_DESCRIPTOR, FOLDER_DESCRIPTOR
from unbrick.repair.undo import apply_undo, find_runs, plan_undo
from unbrick.windows.ntfs_file import FileAttributes, read_acl, read_attributes, write_acl, write_attributes


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_volume(folder / "volume.img", folder / "mount")
    return folder / "volume.img"


@pytest.fixture
def image(template: Path, tmp_path: Path) -> Path:
    return copy_volume(template, tmp_path / "volume.img")


@pytest.fixture
def root(image: Path, tmp_path: Path) -> Iterator[Path]:
    with mounted(image, tmp_path / "mount") as root:
        yield root


def apply(root: Path, plan: Plan) -> tuple[Action, ...]:
    return apply_plan(root, plan, volume_was_dirty=False, playbooks=playbooks()).actions


def planned(root: Path) -> Plan:
    return make_plan(new_run_id(), findings(root))


def read(image: Path) -> dict[str, FileTruth]:
    with image.open("rb") as stream:
        return read_independently(stream)


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_faulty_files_are_moved_and_everything_else_stays(image: Path, tmp_path: Path) -> None:
    before = read(image)
    with mounted(image, tmp_path / "mount") as root:
        plan = planned(root)
        done = apply(root, plan)
        verify_applied(root, done)
    after = read(image)

    assert [action.state for action in done] == [ActionState.DONE, ActionState.DONE]
    home = f"\\Unbrick\\{plan.run}"
    assert set(after) - set(before) == {
        "\\Unbrick",
        home,
        f"{home}\\journal.jsonl.gz",
        f"{home}\\0001.bin",
        f"{home}\\0002.bin",
    }
    assert set(before) - set(after) == {FAULTY, ZEROED}
    for path, name in ((FAULTY, "0001.bin"), (ZEROED, "0002.bin")):
        moved = after[f"{home}\\{name}"]
        assert replace(moved, path=path, short_name=before[path].short_name) == before[path]
    changed = {path for path in set(before) & set(after) if before[path] != after[path]}
    assert changed == {"\\", CROWDSTRIKE}


def test_all_that_is_ours_is_closed_to_others(root: Path) -> None:
    plan = planned(root)
    apply(root, plan)
    home = root / "Unbrick"
    assert read_acl(home) == FOLDER_DESCRIPTOR
    assert read_acl(home / plan.run) == FOLDER_DESCRIPTOR
    assert read_acl(home / plan.run / "journal.jsonl.gz") == FILE_DESCRIPTOR
    assert read_acl(home / plan.run / "0001.bin") == odd_descriptor()


def test_several_runs_lie_side_by_side(root: Path) -> None:
    first = make_plan("20240719T061203Z-000001", findings(root, [FAULTY]))
    second = make_plan("20240719T071203Z-000002", findings(root, [ZEROED]))
    verify_applied(root, apply(root, first) + apply(root, second))
    assert [(run.run, run.state) for run in find_runs(root)] == [
        (second.run, RunState.REPAIRED),
        (first.run, RunState.REPAIRED),
    ]
    assert plan_undo(root, playbooks(), FOLDERS).run == second.run
    assert plan_undo(root, playbooks(), FOLDERS, first.run).run == first.run


def test_an_empty_plan_writes_nothing(root: Path) -> None:
    assert apply(root, make_plan(new_run_id(), ())) == ()
    assert not (root / "Unbrick").exists()


def _change_bytes(root: Path, plan: Plan) -> Plan:
    place(root, ZEROED).write_bytes(bytes(8999) + b"!")
    return plan


def _remove(root: Path, plan: Plan) -> Plan:
    place(root, ZEROED).unlink()
    return plan


def _turn_into_a_link(root: Path, plan: Plan) -> Plan:
    place(root, ZEROED).rename(place(root, ZEROED).with_name("elsewhere"))
    place(root, ZEROED).symlink_to("elsewhere")
    return plan


def _name_a_good_path(root: Path, plan: Plan) -> Plan:
    place(root, "\\Windows\\System32\\ntoskrnl.exe").write_bytes(place(root, ZEROED).read_bytes())
    return replace(plan, actions=(replace(plan.actions[1], path="\\Windows\\System32\\ntoskrnl.exe"),))


def _name_an_unknown_playbook(root: Path, plan: Plan) -> Plan:
    return replace(plan, actions=(replace(plan.actions[0], playbook="never-heard-of"),))


def _give_more_streams_than_an_undo_believes(root: Path, plan: Plan) -> Plan:
    for number in range(65):
        os.setxattr(place(root, ZEROED), f"user.stream{number}", b"x")
    return plan


def _take_offline(root: Path, plan: Plan) -> Plan:
    path = place(root, ZEROED)
    write_attributes(path, read_attributes(path) | FileAttributes.OFFLINE)
    return plan


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_give_more_streams_than_an_undo_believes, "person-decides"),
        (_take_offline, "person-decides"),
        (_change_bytes, "verify-failed"),
        (_remove, "verify-failed"),
        (_turn_into_a_link, "verify-failed"),
        (_name_a_good_path, "protected-file"),
        (_name_an_unknown_playbook, "unknown-playbook"),
    ],
)
def test_what_is_not_as_planned_stops_all_of_it(
    root: Path, change: Callable[[Path, Plan], Plan], reason: str
) -> None:
    plan = change(root, planned(root))
    before = names(root)
    with pytest.raises(NeedsHandsError) as caught:
        apply(root, plan)
    assert caught.value.reason == reason
    assert names(root) == before


def _by_ntfs_3g(root: Path) -> None:
    (root / "Unbrick").mkdir()


def _in_another_case(root: Path) -> None:
    (root / "UNBRICK").mkdir()


def _as_a_file(root: Path) -> None:
    (root / "Unbrick").write_bytes(b"")
    write_acl(root / "Unbrick", FILE_DESCRIPTOR)


def _as_a_link(root: Path) -> None:
    (root / "elsewhere").mkdir()
    write_acl(root / "elsewhere", FOLDER_DESCRIPTOR)
    (root / "Unbrick").symlink_to("elsewhere")


def _with_readers(root: Path) -> None:
    (root / "Unbrick").mkdir()
    write_acl(root / "Unbrick", odd_descriptor())


def _twice(root: Path) -> None:
    for name in ("unbrick", "UNBRICK"):
        (root / name).mkdir()
        write_acl(root / name, FOLDER_DESCRIPTOR)


@pytest.mark.parametrize(
    "make", [_by_ntfs_3g, _in_another_case, _as_a_file, _as_a_link, _with_readers, _twice]
)
def test_a_folder_of_somebody_else_does_not_stop_a_repair(root: Path, make: Callable[[Path], None]) -> None:
    """Any user of a Windows can make one: ours then has a name that nobody can have taken."""
    make(root)
    before = names(root)
    assert find_runs(root) == ()
    with pytest.raises(NeedsHandsError) as caught:
        plan_undo(root, playbooks(), FOLDERS)
    assert caught.value.reason == "foreign-quarantine"
    plan = planned(root)
    verify_applied(root, apply(root, plan))
    (home,) = find_homes(root).ours
    assert re.fullmatch(r"Unbrick-[0-9a-f]{16}", home.name)
    assert (home / plan.run / "0001.bin").exists()
    moved = {str(place(root, path).relative_to(root)) for path in (FAULTY, ZEROED)}
    assert {one for one in names(root) if not one.startswith(home.name)} == set(before) - moved
    again = make_plan(new_run_id(), findings(root, [GOOD]))
    apply(root, again)
    assert [path.name for path in find_homes(root).ours] == [home.name]
    apply_undo(root, plan_undo(root, playbooks(), FOLDERS, plan.run))
    assert place(root, FAULTY).exists()


def test_our_own_folder_is_used_again_in_whatever_case(root: Path) -> None:
    (root / "unbrick").mkdir()
    write_acl(root / "unbrick", FOLDER_DESCRIPTOR)
    plan = planned(root)
    verify_applied(root, apply(root, plan))
    assert (root / "unbrick" / plan.run / "0001.bin").exists()


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(bytes(64 * 1024)):
            pass


def test_a_full_volume_is_left_as_it_was(image: Path, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mount") as root:
        fill(root / "filler")
    before = image.read_bytes()
    (tmp_path / "work").mkdir()
    plain = PlainVolume(image, image.stat().st_size, lambda: None)

    def repair() -> None:
        with change(plain, ChangeOptions(), SystemRunner(), tmp_path / "work") as copy:
            apply(copy.root, planned(copy.root))

    with pytest.raises(NeedsHandsError) as caught:
        repair()
    assert caught.value.reason == "disk-full"
    assert image.read_bytes() == before


@dataclass
class Failing:
    """A call that does what it should, but fails at one time, with nothing done."""

    real: Callable[..., object]
    at: int
    code: int
    calls: int = 0

    def __call__(self, *arguments: object, **options: object) -> object:
        self.calls += 1
        if self.calls == self.at:
            raise OSError(self.code, os.strerror(self.code))
        return self.real(*arguments, **options)


@pytest.mark.parametrize(
    ("code", "reason"), [(errno.ENOSPC, "disk-full"), (errno.EIO, "unreadable-disk")], ids=["full", "error"]
)
@pytest.mark.parametrize(
    ("name", "at"), [("mkdir", 1), ("link", 1), ("link", 2), ("unlink", 2), ("setxattr", 1), ("pwrite", 1)]
)
def test_what_fails_on_the_way_never_reaches_the_disk(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, at: int, code: int, reason: str
) -> None:
    before = image.read_bytes()
    (tmp_path / "work").mkdir()
    plain = PlainVolume(image, image.stat().st_size, lambda: None)
    failing = Failing(getattr(os, name), at, code)

    def repair() -> None:
        with change(plain, ChangeOptions(), SystemRunner(), tmp_path / "work") as mounted:
            plan = planned(mounted.root)
            with monkeypatch.context() as patch:
                patch.setattr(os, name, failing)
                verify_applied(mounted.root, apply(mounted.root, plan))

    with pytest.raises((NeedsHandsError, FailedError)) as caught:
        repair()
    assert caught.value.reason == reason
    assert image.read_bytes() == before


def test_a_file_with_a_name_that_no_folder_lists_is_moved_and_put_back(image: Path, tmp_path: Path) -> None:
    """A crash can leave such a name; ntfs-3g then calls every change to the file an error, and makes it."""
    add_unlisted_name(image, tmp_path / "mount")
    before = read(image)
    with mounted(image, tmp_path / "mount") as root:
        plan = make_plan(new_run_id(), findings(root, [FAULTY]))
        with pytest.raises(OSError, match="Input/output error"):
            write_attributes(place(root, FAULTY), read_attributes(place(root, FAULTY)))
        verify_applied(root, apply(root, plan))
        apply_undo(root, plan_undo(root, playbooks(), FOLDERS))
    after = read(image)
    assert replace(after[FAULTY], short_name=before[FAULTY].short_name) == before[FAULTY]


def test_verification_notices_what_is_not_so(root: Path) -> None:
    plan = planned(root)
    done = apply(root, plan)
    quarantined = root / "Unbrick" / plan.run / "0002.bin"
    os.link(quarantined, place(root, ZEROED))
    with pytest.raises(FailedError, match="still there"):
        verify_applied(root, done)
    place(root, ZEROED).unlink()
    verify_applied(root, done)
    quarantined.write_bytes(b"other")
    with pytest.raises(FailedError, match="bytes differ"):
        verify_applied(root, done)
    with pytest.raises(FailedError, match="no journal"):
        verify_applied(root, [replace(done[0], path=GOOD)])


def test_attributes_that_a_new_name_sets_are_put_back(root: Path) -> None:
    before = read_attributes(place(root, FAULTY))
    plan = planned(root)
    apply(root, plan)
    assert read_attributes(root / "Unbrick" / plan.run / "0001.bin") == before
    assert not before & 0x20
    assert place(root, LOOKALIKE).exists()
    assert plan.actions[0].playbook == PLAYBOOK
