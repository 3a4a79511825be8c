"""Purge, the only verb that deletes: a run's own files and its journal, all or nothing, when asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.drilled import Drilled, Drills
from support.ntfs_check import inconsistencies
from support.ntfs_reader import partition_view, read_independently
from support.program import at_terminal, run_program

from unbrick.drill.disk import ntfs
from unbrick.processes.command import SystemRunner
from unbrick.repair.security import FILE_DESCRIPTOR
from unbrick.windows.ntfs_file import write_acl

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def _run(disk: Drilled, verb: str, *options: str) -> dict[str, Any]:
    return run_program(verb, disk.image, "--keys", disk.keys, *options, "--json").document


def _repaired(drills: Drills, tmp_path: Path, kind: str = "plain") -> tuple[Drilled, str]:
    disk = drills.copy(kind, tmp_path / "disks")
    run = _run(disk, "repair", "--yes")["run"]
    return disk, run


def _ours(disk: Drilled) -> list[str]:
    """What of ours lies on the first Windows volume, by another reader."""
    with disk.image.open("rb") as stream:
        found = read_independently(partition_view(stream, disk.volume.offset, disk.volume.length))
    return sorted(path for path in found if path.startswith("\\Unbrick"))


@pytest.mark.parametrize("kind", ["plain", "two-windows", "xts-128", "qcow2"])
def test_a_purge_deletes_the_quarantine_and_nothing_else(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk, run = _repaired(drills, tmp_path, kind)
    before = disk.digest()
    planned = _run(disk, "purge", "--run", run, "--dry-run")
    assert (planned["status"], planned["run"]) == ("found", run)
    assert disk.digest() == before
    purged = _run(disk, "purge", "--run", run, "--yes")
    assert (purged["status"], purged["reason"], purged["run"]) == ("scanned", None, run)
    actions = [action for one in purged["installations"] for action in one["actions"]]
    faulty = sorted(path for volume in disk.truth.volumes for path in volume.faulty)
    assert sorted(action["path"] for action in actions) == faulty
    assert {(one["kind"], one["state"]) for one in actions} == {("delete-quarantined", "done")}
    assert disk.complaints(repaired=True) == ()
    assert _run(disk, "runs")["runs"] == []
    assert _run(disk, "diagnose")["earlier"] is None
    for verb, *options in (("undo", "--yes"), ("purge", "--run", run, "--yes")):
        gone = _run(disk, verb, *options)
        assert (gone["status"], gone["reason"]) == ("needs-hands", "no-run")
    if kind == "plain":
        assert _ours(disk) == []
        with disk.image.open("rb") as stream:
            view = partition_view(stream, disk.volume.offset, disk.volume.length)
            assert inconsistencies(view) == frozenset()


def test_of_two_runs_only_the_one_that_was_named_goes(drills: Drills, tmp_path: Path) -> None:
    disk, first = _repaired(drills, tmp_path)
    _run(disk, "undo", "--yes")
    second = _run(disk, "repair", "--yes")["run"]
    purged = _run(disk, "purge", "--run", first, "--yes")
    assert (purged["status"], purged["installations"][0]["actions"]) == ("scanned", [])
    assert [one["run"] for one in _run(disk, "runs")["runs"]] == [second]
    assert _run(disk, "undo", "--yes")["status"] == "undone"
    assert disk.complaints(repaired=False) == ()


def _a_strangers_file(folder: Path) -> None:
    (folder / "holiday.jpg").write_bytes(b"a photograph")


def _a_changed_file(folder: Path) -> None:
    file = folder / "0001.bin"
    file.write_bytes(file.read_bytes() + b"more")


def _a_file_under_the_others_name(folder: Path) -> None:
    (folder / "0001.bin").unlink()
    (folder / "0001.bin").write_bytes(b"a letter")
    write_acl(folder / "0001.bin", FILE_DESCRIPTOR)


def _a_torn_journal(folder: Path) -> None:
    journal = folder / "journal.jsonl.gz"
    journal.write_bytes(journal.read_bytes()[:100])


def _with_harm(disk: Drilled, run: str, tmp_path: Path, harm: Callable[[Path], None]) -> str:
    """Do something in a run's folder; gives the disk's digest then."""
    raw = tmp_path / "volume"
    whole = disk.image.read_bytes()
    start, end = disk.volume.offset, disk.volume.offset + disk.volume.length
    raw.write_bytes(whole[start:end])
    with ntfs.mounted(raw, tmp_path / "mount", SystemRunner()) as root:
        harm(root / "Unbrick" / run)
    disk.image.write_bytes(whole[:start] + raw.read_bytes() + whole[end:])
    return disk.digest()


@pytest.mark.parametrize(
    "harm", [_a_strangers_file, _a_changed_file, _a_file_under_the_others_name, _a_torn_journal]
)
def test_what_the_journal_does_not_name_stops_it(
    drills: Drills, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    disk, run = _repaired(drills, tmp_path)
    before = _with_harm(disk, run, tmp_path, harm)
    refused = _run(disk, "purge", "--run", run, "--yes")
    assert (refused["status"], refused["reason"]) == ("needs-hands", "bad-journal")
    assert disk.digest() == before


@pytest.mark.parametrize("where", ["0001.bin", "journal.jsonl.gz", ".", ".."])
def test_a_stream_that_no_run_has_put_there_is_not_deleted(
    drills: Drills, tmp_path: Path, where: str
) -> None:
    disk, run = _repaired(drills, tmp_path)
    before = _with_harm(
        disk, run, tmp_path, lambda folder: os.setxattr(folder / where, "user.letter", b"Dear all")
    )
    for options in (["--dry-run"], ["--yes"]):
        refused = _run(disk, "purge", "--run", run, *options)
        assert (refused["status"], refused["reason"]) == ("needs-hands", "quarantine-changed")
        assert "letter" in refused["error"]
        assert disk.digest() == before


@pytest.mark.parametrize("where", ["0001.bin", "journal.jsonl.gz", "."])
def test_what_has_an_object_id_is_deleted_with_it(drills: Drills, tmp_path: Path, where: str) -> None:
    """Windows gives one to whatever a shortcut has led to."""
    disk, run = _repaired(drills, tmp_path)
    _with_harm(
        disk,
        run,
        tmp_path,
        lambda folder: os.setxattr(folder / where, "system.ntfs_object_id", bytes(range(16))),
    )
    purged = _run(disk, "purge", "--run", run, "--yes")
    assert (purged["status"], purged["error"]) == ("scanned", None)
    assert _ours(disk) == []
    with disk.image.open("rb") as stream:
        view = partition_view(stream, disk.volume.offset, disk.volume.length)
        assert inconsistencies(view) == frozenset()


def test_it_asks_and_no_means_no(drills: Drills, tmp_path: Path) -> None:
    disk, run = _repaired(drills, tmp_path)
    before = disk.digest()
    assert run_program("purge", disk.image, "--run", run).code == 2
    assert run_program("purge", disk.image, "--yes").code == 2
    with at_terminal("purge", disk.image, "--run", run) as terminal:
        terminal.wait_for(f"would be deleted for good: {disk.volume.faulty[0]}")
        terminal.wait_for("never be undone")
        terminal.wait_for("Go ahead? [y/N]")
        terminal.type("n")
        terminal.wait_for("nothing was written")
        assert terminal.end() == 3
    assert disk.digest() == before
    with at_terminal("purge", disk.image, "--run", run) as terminal:
        terminal.wait_for("Go ahead? [y/N]")
        terminal.type("y")
        terminal.wait_for(f"deleted for good: {disk.volume.faulty[0]}")
        assert terminal.end() == 0
    assert disk.complaints(repaired=True) == ()
