"""A drill's machines repaired and put back by the command line, then held against the truth of the drill.

The judge is a reader that shares no code with ntfs-3g: every byte, time, name, right and stream counts.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from dissect.fve.bde import BDE
from support.ntfs_reader import partition_view, read_independently
from support.truth_file import MachineTruth, differences, read_truth_file

from unbrick.drill.disk.truth import FileTruth, VolumeTruth, sha256_of
from unbrick.drill.fleet import make_fleet
from unbrick.drill.options import MIB, Encryption, FleetOptions, MachineOptions
from unbrick.processes.command import SystemRunner

_BASE = MachineOptions("PC-1", 3, size=160 * MIB, files=20)
_MACHINES = (
    replace(_BASE, scenario="a good file beside the faulty one, two Windows", variant=2, two_windows=True),
    replace(_BASE, name="PC-2", scenario="crashed, a second name of the file", variant=3, crashed=True),
    replace(_BASE, name="PC-3", scenario="encrypted, zeros", variant=1, encryption=Encryption.XTS_128),
)


@pytest.fixture
def fleet(tmp_path: Path) -> tuple[Path, tuple[MachineTruth, ...]]:
    made = make_fleet(tmp_path / "fleet", FleetOptions(_MACHINES, 3), SystemRunner(), lambda line: None)
    return made.directory, read_truth_file(made.truth)


def _unbrick(verb: str, folder: Path, machine: MachineTruth) -> Any:
    code = "import sys; from unbrick.cli import main; sys.exit(main())"
    argv = [verb, machine.disk, "--keys", "keys.csv", "--yes", "--json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *argv],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def _found(folder: Path, machine: MachineTruth, volume: VolumeTruth) -> Iterable[FileTruth]:
    rows = csv.DictReader((folder / "keys.csv").read_text().splitlines())
    passwords = {row["KeyID"]: row["RecoveryKey"] for row in rows}
    with (folder / machine.disk).open("rb") as stream:
        plain: Any = partition_view(stream, volume.offset, volume.length)
        if volume.protector is not None:
            locked = BDE(plain)
            locked.unlock_with_recovery_password(passwords[volume.protector])
            plain = locked.open()
        return read_independently(plain).values()


def test_what_a_repair_takes_and_an_undo_brings_back(fleet: tuple[Path, tuple[MachineTruth, ...]]) -> None:
    folder, machines = fleet
    for verb in ("repair", "undo"):
        for machine in machines:
            document = _unbrick(verb, folder, machine)
            assert document["status"] == {"repair": "repaired", "undo": "undone"}[verb]
            for volume in machine.volumes:
                found = _found(folder, machine, volume)
                assert differences(volume, found, repaired=verb == "repair") == (), machine.scenario
            for part in machine.untouched:
                assert sha256_of(folder / machine.disk, part["offset"], part["length"]) == part["sha256"]
