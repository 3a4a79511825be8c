"""Undo on a disk with several Windows, and after an interruption: the same command again goes on."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills
from support.program import run_program, start_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def _run(verb: str, disk: Drilled, *options: str) -> tuple[str, str | None, str | None]:
    document = run_program(verb, disk.image, "--keys", disk.keys, "--yes", "--json", *options).document
    return document["status"], document["reason"], document["run"]


def _only_the_key_of(disk: Drilled, protector: str | None) -> None:
    assert protector is not None
    disk.keys.write_text(f"KeyID,RecoveryKey\n{protector},{disk.passwords()[protector]}\n")


def test_a_windows_that_was_never_repaired_does_not_stand_in_the_way(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("two-locked", tmp_path / "disks")
    all_keys = disk.keys.read_text()
    _only_the_key_of(disk, disk.truth.volumes[1].protector)
    assert _run("repair", disk)[0] == "needs-key"
    disk.keys.write_text(all_keys)
    assert _run("undo", disk)[:2] == ("undone", None)
    assert disk.complaints(repaired=False) == ()


def test_of_two_repairs_on_two_windows_the_newest_is_undone_first(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("two-locked", tmp_path / "disks")
    all_keys = disk.keys.read_text()
    _only_the_key_of(disk, disk.truth.volumes[0].protector)
    first = _run("repair", disk)[2]
    time.sleep(1.1)  # a run's id begins with its second
    disk.keys.write_text(all_keys)
    second = _run("repair", disk)[2]
    assert _run("undo", disk) == ("undone", None, second)
    assert _run("undo", disk) == ("undone", None, first)
    assert _run("undo", disk) == ("undone", None, second), "it says so again"
    assert disk.complaints(repaired=False) == ()


@pytest.mark.parametrize("after", [0.0, 0.01, 0.02, 0.04, 0.08, 0.12])
def test_an_undo_that_was_killed_is_finished_by_the_same_command(
    drills: Drills, tmp_path: Path, after: float
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    assert _run("repair", disk)[0] == "repaired"
    before = disk.image.stat().st_mtime_ns
    process = start_program("undo", disk.image, "--yes", "--json")
    while disk.image.stat().st_mtime_ns == before and process.poll() is None:
        time.sleep(0.001)
    time.sleep(after)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    _wait_until_free(disk.image)
    assert _run("undo", disk)[:2] == ("undone", None)
    assert disk.complaints(repaired=False) == ()
    assert _run("repair", disk)[0] == "repaired"
    assert disk.complaints(repaired=True) == ()


def _wait_until_free(image: Path) -> None:
    """Helpers of a killed run take a moment to die, and the disk is in use until then."""
    deadline = time.monotonic() + 60
    while run_program("scan", image, "--json").document["reason"] == "disk-in-use":
        assert time.monotonic() < deadline, "the disk stays in use"
