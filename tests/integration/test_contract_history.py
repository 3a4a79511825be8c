"""What a disk tells of earlier runs: every verb says what was done to it before, and `runs` lists it all."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.drilled import Drilled, Drills
from support.program import Ended, at_terminal, run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_LOOKS = (("scan",), ("diagnose",), ("repair", "--dry-run"), ("repair", "--yes"), ("undo", "--dry-run"))


def _run(disk: Drilled, verb: str, *options: str) -> Ended:
    keys = ("--keys", str(disk.keys)) if verb != "scan" and disk.passwords() else ()
    return run_program(verb, disk.image, *keys, *options)


def _document(disk: Drilled, verb: str, *options: str) -> dict[str, Any]:
    return _run(disk, verb, *options, "--json").document


@pytest.mark.parametrize("kind", ["plain", "two-windows"])
def test_every_verb_says_that_a_disk_was_repaired_before(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    first = _document(disk, "repair", "--yes")
    assert first["earlier"] is None
    before = disk.digest()
    for verb, *options in _LOOKS:
        earlier = _document(disk, verb, *options)["earlier"]
        assert (earlier["run"], earlier["medium"], earlier["state"]) == (first["run"], None, "repaired")
        assert first["started"][:16] <= earlier["when"][:16]
    spoken = _run(disk, "repair", "--yes").out
    assert f"by run {first['run']}" in spoken
    assert re.search(r"repaired on \d{4}-\d\d-\d\d \d\d:\d\d UTC", spoken)
    assert "elsewhere" not in spoken
    assert "restart this machine" in spoken
    assert disk.digest() == before


def test_every_verb_says_that_a_repair_was_taken_back(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    run = _document(disk, "repair", "--yes")["run"]
    undone = _document(disk, "undo", "--yes")
    assert undone["earlier"]["state"] == "undone"
    before = disk.digest()
    for verb, *options in (("scan",), ("diagnose",), ("repair", "--dry-run"), ("undo", "--yes")):
        document = _document(disk, verb, *options)
        assert (document["earlier"]["run"], document["earlier"]["state"]) == (run, "undone"), verb
    assert f"put back on {undone['earlier']['when'][:10]}" in _run(disk, "diagnose").out
    assert disk.digest() == before


def test_runs_lists_what_was_done_and_undone(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("two-windows", tmp_path / "disks")
    assert _document(disk, "runs")["runs"] == []
    assert "no runs" in _run(disk, "runs").out
    first = _document(disk, "repair", "--yes")["run"]
    _document(disk, "undo", "--yes")
    second = _document(disk, "repair", "--yes")["run"]
    before = disk.digest()
    ended = _run(disk, "runs", "--json")
    assert (ended.document["status"], ended.code) == ("scanned", 0)
    runs = ended.document["runs"]
    assert {(one["run"], one["state"]) for one in runs} == {(first, "undone"), (second, "repaired")}
    faulty = sorted(path for volume in disk.truth.volumes for path in volume.faulty)
    for one in runs:
        assert sorted(action["path"] for action in one["actions"]) == faulty
        assert one["partitions"] == [volume.partition for volume in disk.truth.volumes]
    spoken = _run(disk, "runs").out
    assert spoken.startswith(f"{disk.image}: 2 runs\n")
    assert f"{second}: repaired on" in spoken
    assert f"{first}: put back on" in spoken
    assert disk.digest() == before


def test_runs_of_a_locked_disk_needs_its_key(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    locked = run_program("runs", disk.image, "--json")
    assert (locked.document["status"], locked.code) == ("needs-key", 4)
    assert _document(disk, "runs")["runs"] == []


def test_an_undo_warns_that_windows_will_show_its_fault_again(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    _document(disk, "repair", "--yes")
    with at_terminal("undo", disk.image) as terminal:
        terminal.wait_for("Windows will show its fault again")
        terminal.wait_for("Go ahead?")
        terminal.type("y")
        terminal.wait_for("UNDONE")
        terminal.wait_for(f"unbrick repair {disk.image}")
        assert terminal.end() == 0


def test_a_hint_has_the_options_that_were_given(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks", name="a disk.img")
    keys = disk.keys.rename(tmp_path / "my keys.csv")
    found = run_program("diagnose", disk.image, "--keys", keys)
    line = found.out.split("what to do: ")[1].splitlines()[0]
    assert line == f"unbrick repair '{disk.image}' --keys '{keys}'"
    dry = run_program("repair", disk.image, "--keys", keys, "--dry-run", "--discard-hibernation")
    assert dry.out.split("what to do: ")[1].splitlines()[0] == f"{line} --discard-hibernation"
    done = run_program("repair", disk.image, "--keys", keys, "--yes")
    back = done.out.split("to put it back: ")[1].splitlines()[0]
    assert back.startswith(f"unbrick undo '{disk.image}' --keys '{keys}' --run 20")


def test_the_schema_that_is_printed_is_a_schema_and_knows_every_word() -> None:
    from unbrick import model

    schema = json.loads(run_program("help", "--schema", "result").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    known = schema["$defs"]
    assert known["status"]["enum"] == [*model.Status]
    assert known["volume"]["properties"]["kind"]["enum"] == [*model.VolumeKind]
    assert known["volume"]["properties"]["state"]["enum"] == [*model.VolumeState]
    assert known["volume"]["properties"]["filesystem"]["enum"] == [*model.FilesystemState, None]
    protector = known["volume"]["properties"]["protectors"]["items"]["properties"]
    assert protector["kind"]["enum"] == [*model.ProtectorKind]
    assert known["action"]["properties"]["state"]["enum"] == [*model.ActionState]
    assert known["earlier"]["properties"]["state"]["enum"] == [*model.RunState]


def test_the_package_has_the_schema() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert "manual/*.json" in project["tool"]["setuptools"]["package-data"]["unbrick"]
