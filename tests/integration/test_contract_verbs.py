"""Every verb on every kind of disk, from outside: status, reason, exit code, and what was written."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.contract_schema import EXIT_CODES, check_document
from support.drilled import KINDS, Drilled, Drills
from support.program import Ended, run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_REPAIRABLE = [kind for kind in KINDS if kind not in {"healthy", "hibernated"}]


def run(verb: str, disk: Drilled | Path, *options: str) -> Ended:
    """The verb on one disk, with its keys where the verb takes any; checks what holds for every run."""
    image = disk.image if isinstance(disk, Drilled) else disk
    keys = (
        ["--keys", str(disk.keys)]
        if isinstance(disk, Drilled) and verb != "scan" and disk.passwords()
        else []
    )
    ended = run_program(verb, image, *keys, *options, "--json")
    document = ended.document
    check_document(document)
    assert ended.code == EXIT_CODES[document["status"]], ended
    assert document["disk"] == str(image)
    return ended


def states(ended: Ended) -> list[str]:
    """The states of all actions of a run."""
    return [action["state"] for one in ended.document["installations"] for action in one["actions"]]


def faulty_paths(disk: Drilled) -> list[str]:
    """Every file that must go, on all volumes."""
    return sorted(path for volume in disk.truth.volumes for path in volume.faulty)


@pytest.mark.parametrize("kind", ["plain", "crashed", "hibernated", "xts-128", "qcow2", "vhdx", "vmdk"])
def test_looking_writes_nothing_at_all(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    before = (disk.digest(), disk.image.stat().st_mtime_ns, disk.image.stat().st_ino)
    assert run("scan", disk).document["status"] == "scanned"
    foreseen = "needs-hands" if kind == "hibernated" else "found"
    assert run("diagnose", disk).document["status"] == foreseen
    dry = run("repair", disk, "--dry-run")
    assert dry.document["status"] == foreseen
    assert set(states(dry)) == {"planned"}
    undo = run("undo", disk, "--dry-run")
    assert (undo.document["status"], undo.document["reason"]) == ("needs-hands", "no-run")
    assert (disk.digest(), disk.image.stat().st_mtime_ns, disk.image.stat().st_ino) == before
    assert list(disk.image.parent.iterdir()) == [disk.image]


@pytest.mark.parametrize("kind", _REPAIRABLE)
def test_a_repair_takes_the_fault_and_only_the_fault_and_undo_brings_it_back(
    drills: Drills, tmp_path: Path, kind: str
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    repaired = run("repair", disk, "--yes").document
    assert repaired["status"] == "repaired"
    assert {one["status"] for one in repaired["installations"]} == {"repaired"}
    actions = [action for one in repaired["installations"] for action in one["actions"]]
    assert sorted(action["path"] for action in actions) == faulty_paths(disk)
    assert {(action["kind"], action["state"]) for action in actions} == {("quarantine-file", "done")}
    assert disk.complaints(repaired=True) == ()
    again = run("repair", disk, "--yes").document
    assert (again["status"], again["run"]) == ("healthy", None)
    undone = run("undo", disk, "--yes")
    assert (undone.document["status"], undone.document["run"]) == ("undone", repaired["run"])
    assert set(states(undone)) == {"undone"}
    assert disk.complaints(repaired=False) == ()
    assert run("diagnose", disk).document["status"] == "found"
    assert list(disk.image.parent.iterdir()) == [disk.image]


@pytest.mark.parametrize("kind", ["plain", "xts-128", "two-windows"])
def test_scan_names_volumes_protectors_and_machines(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    document = run("scan", disk).document
    assert document["machine"]["disk_guid"] == disk.truth.disk_guid
    assert sorted(document["machine"]["hostnames"]) == sorted(v.hostname for v in disk.truth.volumes)
    windows = {volume.partition: volume for volume in disk.truth.volumes}
    for volume in document["volumes"]:
        truth = windows.get(volume["partition"])
        if truth and truth.protector:
            assert (volume["kind"], volume["state"]) == ("bitlocker", "locked")
            assert {"id": truth.protector, "kind": "recovery-password"} in volume["protectors"]
        elif truth:
            assert (volume["kind"], volume["state"], volume["filesystem"]) == ("ntfs", "open", "clean")
    if kind != "xts-128":
        assert [one["status"] for one in document["installations"]] == ["scanned"] * len(windows)
        assert [one["hostname"] for one in document["installations"]] == [
            v.hostname for v in windows.values()
        ]


def test_diagnosis_names_the_files_with_what_is_known_of_them(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    (installation,) = run("diagnose", disk).document["installations"]
    (finding,) = installation["findings"]
    truth = {file.path: file for file in disk.volume.files}
    assert finding["playbook"] == "crowdstrike-cf291"
    assert sorted(file["path"] for file in finding["files"]) == faulty_paths(disk)
    for file in finding["files"]:
        assert (file["sha256"], file["size"]) == (truth[file["path"]].sha256, truth[file["path"]].size)
        assert file["modified"].startswith("2024-07-19T0")


def test_a_healthy_disk_is_healthy_for_every_verb_and_stays_as_it_is(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("healthy", tmp_path / "disks")
    before = disk.digest()
    for verb, options in (("diagnose", ()), ("repair", ("--dry-run",)), ("repair", ("--yes",))):
        document = run(verb, disk, *options).document
        assert (document["status"], document["run"]) == ("healthy", None)
        assert [finding for one in document["installations"] for finding in one["findings"]] == []
    assert disk.digest() == before


def test_a_hibernated_disk_waits_for_a_person_until_the_session_is_given_up(
    drills: Drills, tmp_path: Path
) -> None:
    disk = drills.copy("hibernated", tmp_path / "disks")
    before = disk.digest()
    refused = run("repair", disk, "--yes").document
    assert (refused["status"], refused["reason"]) == ("needs-hands", "hibernated")
    assert "--discard-hibernation" in run_program("repair", disk.image, "--yes").out
    assert disk.digest() == before
    assert run("repair", disk, "--dry-run", "--discard-hibernation").document["status"] == "found"
    assert disk.digest() == before
    assert run("repair", disk, "--yes", "--discard-hibernation").document["status"] == "repaired"
    assert disk.complaints(repaired=True) == ()
    assert run("undo", disk, "--yes").document["status"] == "undone"


def test_a_missing_key_is_asked_for_and_then_the_right_one_opens(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    before = disk.digest()
    for verb, options in (("diagnose", ()), ("repair", ("--yes",)), ("undo", ("--yes",))):
        document = run(verb, disk.image, *options).document
        assert (document["status"], document["reason"]) == ("needs-key", "key-missing")
        assert disk.volume.protector in document["error"]
        assert document["machine"]["hostnames"] == [disk.volume.hostname]
    assert disk.digest() == before
    assert run("diagnose", disk).document["status"] == "found"


def test_a_wrong_key_is_said_to_be_wrong_and_the_next_is_tried(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (other,) = drills.copy("xts-256", tmp_path / "other").passwords().values()
    (right,) = disk.passwords().values()
    disk.keys.write_text(f"KeyID,RecoveryKey\n{disk.volume.protector},{other}\n")
    wrong = run("diagnose", disk)
    assert (wrong.document["status"], wrong.document["reason"]) == ("needs-key", "key-wrong")
    disk.keys.write_text(
        f"KeyID,RecoveryKey\n{disk.volume.protector},{other}\n{disk.volume.protector},{right}\n"
    )
    tried = run("diagnose", disk)
    assert tried.document["status"] == "found"
    assert "line 2 does not open" in tried.err
    for password in (other, right):
        assert password not in wrong.said + tried.said


def test_of_two_windows_the_one_without_a_key_decides_and_the_other_is_repaired(
    drills: Drills, tmp_path: Path
) -> None:
    disk = drills.copy("two-locked", tmp_path / "disks")
    first, second = disk.truth.volumes
    assert first.protector
    all_keys = disk.keys.read_text()
    disk.keys.write_text(f"KeyID,RecoveryKey\n{first.protector},{disk.passwords()[first.protector]}\n")
    document = run("repair", disk, "--yes").document
    assert (document["status"], document["reason"]) == ("needs-key", "key-missing")
    assert second.protector in document["error"]
    (installation,) = document["installations"]
    assert (installation["partition"], installation["status"]) == (first.partition, "repaired")
    disk.keys.write_text(all_keys)
    assert run("repair", disk, "--yes").document["status"] == "repaired"
    assert disk.complaints(repaired=True) == ()


@pytest.mark.parametrize("kind", ["plain", "two-windows"])
def test_undo_twice_says_that_it_is_done_already(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    run_id = run("repair", disk, "--yes").document["run"]
    dry = run("undo", disk, "--dry-run")
    assert (dry.document["status"], dry.document["run"]) == ("found", run_id)
    assert set(states(dry)) == {"planned"}
    assert run("undo", disk, "--yes", "--run", run_id).document["status"] == "undone"
    before = disk.digest()
    for already in ((), ("--run", run_id), ("--dry-run",)):
        again = run("undo", disk, "--yes", *already)
        assert (again.document["status"], again.document["run"]) == ("undone", run_id)
        assert (again.code, states(again)) == (0, [])
        assert "already put back on 20" in again.err
    for options in (("--run", "20240719T040900Z-ffffff"), ("--run", "..\\..\\Windows")):
        document = run("undo", disk, "--yes", *options).document
        assert (document["status"], document["reason"]) == ("needs-hands", "no-run"), options
    assert disk.digest() == before
    assert run("repair", disk, "--yes").document["status"] == "repaired"
    assert disk.complaints(repaired=True) == ()


def test_undo_of_an_unknown_run_leaves_the_known_one_alone(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    run("repair", disk, "--yes")
    before = disk.digest()
    document = run("undo", disk, "--yes", "--run", "20240719T040900Z-ffffff").document
    assert (document["status"], document["reason"]) == ("needs-hands", "no-run")
    assert "20240719T040900Z-ffffff" in document["error"]
    assert disk.digest() == before


@contextmanager
def _loop_device(image: Path, *options: str) -> Iterator[Path]:
    argv = ["losetup", "--find", "--show", *options, str(image)]
    device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        yield Path(device)
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


@pytest.mark.parametrize("kind", ["plain", "xts-128"])
def test_a_block_device_is_a_disk_like_any_other(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    with _loop_device(disk.image) as device:
        on_device = Drilled(device, disk.keys, disk.truth)
        assert run("scan", on_device).document["machine"]["disk_guid"] == disk.truth.disk_guid
        assert run("repair", on_device, "--yes").document["status"] == "repaired"
    assert disk.complaints(repaired=True) == ()
    with _loop_device(disk.image) as device:
        assert run("undo", Drilled(device, disk.keys, disk.truth), "--yes").document["status"] == "undone"
    assert disk.complaints(repaired=False) == ()


def test_a_write_protected_disk_can_be_looked_at_and_is_not_repaired(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    with _loop_device(disk.image, "--read-only") as device:
        assert run("scan", device).document["status"] == "scanned"
        diagnosed = run("diagnose", device)
        assert diagnosed.document["status"] == "found"  # it can be looked at, and what hinders is said
        assert "write-protected here: lift that before a repair" in diagnosed.err
        for option in ("--dry-run", "--yes"):
            document = run("repair", device, option).document
            assert (document["status"], document["reason"]) == ("needs-hands", "read-only")
    assert disk.complaints(repaired=False) == ()


def test_relative_paths_and_odd_names_work(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "Räume mit Leerzeichen", name="it's a disk.img")
    folder = disk.image.parent
    found = run_program("diagnose", disk.image.name, "--json", cwd=folder)
    assert (found.document["disk"], found.code) == (disk.image.name, 3)
    repaired = run_program("repair", f"../{folder.name}/{disk.image.name}", "--yes", cwd=folder)
    assert repaired.code == 0
    undo = shlex.split(repaired.out.split("to put it back: unbrick ")[1].splitlines()[0])
    again = run_program(*undo, "--yes", "--json", cwd=folder)
    assert again.document["status"] == "undone"
    assert disk.complaints(repaired=False) == ()


def test_a_link_to_a_disk_is_that_disk(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    link = tmp_path / "link.img"
    link.symlink_to(disk.image)
    assert run("repair", link, "--yes").document["status"] == "repaired"
    assert link.is_symlink()
    assert disk.complaints(repaired=True) == ()


def test_several_disks_give_a_line_each_and_the_worst_exit_code(drills: Drills, tmp_path: Path) -> None:
    plain = drills.copy("plain", tmp_path / "a")
    locked = drills.copy("xts-128", tmp_path / "b")
    asleep = drills.copy("hibernated", tmp_path / "c")
    healthy = drills.copy("healthy", tmp_path / "d")
    missing = tmp_path / "missing.img"
    images = [plain.image, locked.image, asleep.image, healthy.image]
    ended = run_program("repair", *images, "--yes", "--json")
    assert [one["status"] for one in ended.documents] == ["repaired", "needs-key", "needs-hands", "healthy"]
    assert [one["disk"] for one in ended.documents] == list(map(str, images))
    assert ended.code == 5
    ended = run_program("diagnose", healthy.image, locked.image, missing, plain.image, "--json")
    assert [one["status"] for one in ended.documents] == ["healthy", "needs-key", "failed", "healthy"]
    assert ended.code == 1
    ended = run_program("diagnose", healthy.image, locked.image, "--keys", locked.keys, "--json")
    assert ended.code == 3
    for document in ended.documents:
        check_document(document)


def test_a_drill_can_be_made_in_a_folder_named_from_where_one_stands(tmp_path: Path) -> None:
    made = run_program("drill", "new", "practice", "--files", "5", "--size", "160M", cwd=tmp_path)
    assert made.code == 0, made
    disk = Path(made.out.strip())
    assert run_program("repair", disk, "--yes", "--json").document["status"] == "repaired"
