"""Invented incidents that `unbrick drill new --playbook` plays, taken away and put back by the same file."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.drilled import drilled_in
from support.own_playbooks import TEXT, write_invented, write_playbook
from support.program import run_program

from unbrick.drill.options import default_incident

pytestmark = pytest.mark.usefixtures("leaves_nothing")
_SMALL = ("--size", "160M", "--files", "20")


@pytest.mark.parametrize("name", ["zzz-print-filter", "fixed-names"])
def test_every_shape_of_an_incident_is_repaired_and_put_back(tmp_path: Path, name: str) -> None:
    playbook = write_invented(tmp_path / f"{name}.yaml", name)
    made = run_program("drill", "new", tmp_path / "fleet", "--playbook", playbook, "--machines", "4", *_SMALL)
    assert made.code == 0, made.said
    machines = drilled_in(tmp_path / "fleet")
    assert {len(disk.volume.faulty) for disk in machines} <= {1, 2, 3}
    for disk in machines:
        repaired = run_program("repair", disk.image, "--playbook", playbook, "--yes", "--json").document
        assert repaired["status"] == "repaired"
        (installation,) = repaired["installations"]
        assert sorted(one["path"] for one in installation["actions"]) == sorted(disk.volume.faulty)
        assert disk.complaints(repaired=True) == ()
        undone = run_program("undo", disk.image, "--playbook", playbook, "--yes", "--json").document
        assert undone["status"] == "undone"
        (installation,) = undone["installations"]
        assert sorted(one["path"] for one in installation["actions"]) == sorted(disk.volume.faulty)
        assert disk.complaints(repaired=False) == ()


def test_what_must_stay_stays_on_a_machine_that_was_spared(tmp_path: Path) -> None:
    playbook = write_invented(tmp_path / "ours.yaml", "zzz-print-filter")
    options = ("--playbook", playbook, "--fault", "none", "--bitlocker", "xts-128", *_SMALL)
    assert run_program("drill", "new", tmp_path / "fleet", *options).code == 0
    (disk,) = drilled_in(tmp_path / "fleet")
    before = disk.digest()
    ended = run_program("repair", disk.image, "--keys", disk.keys, "--playbook", playbook, "--yes", "--json")
    assert ended.document["status"] == "healthy"
    assert disk.digest() == before


def test_what_no_drill_can_play_is_said_in_one_line(tmp_path: Path) -> None:
    digest = f"sha256: [{'ab' * 32}]"
    unplayable = write_playbook(
        tmp_path / "a.yaml", TEXT.replace("first_bytes: AA AA AA AA 01 00 1D 01", digest)
    )
    bad = write_playbook(tmp_path / "b.yaml", TEXT.replace("title:", "titel:"))
    for options, said in (
        (
            ("--playbook", unplayable),
            "a drill cannot play the playbook aaa-channel-285: rule 1: it asks for a SHA",
        ),
        (
            ("--playbook", bad),
            f"{bad}:2: a playbook: expected the key 'title', which is missing",
        ),
        (("--fault", "nothing-known"), "there is no playbook 'nothing-known'"),
        (
            ("--fault", default_incident().id, "--playbook", bad),
            "--fault and --playbook both name an incident",
        ),
    ):
        ended = run_program("drill", "new", tmp_path / "fleet", *options)
        assert ended.code == 2
        assert said in ended.err
        assert len(ended.err.splitlines()) == 2
        assert not (tmp_path / "fleet").exists()
