"""A site's own playbook on the command line: it is used, wanted again for the undo, and replaces none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support.drilled import Drilled, Drills, cut_out
from support.forged_redo import leave_cut
from support.own_playbooks import NAME, PATH, TEXT, write_playbook, write_station
from support.program import Ended, run_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def disk(drills: Drills, tmp_path: Path) -> Drilled:
    """A disk that nothing in the library finds fault with."""
    return drills.copy("healthy", tmp_path / "disks")


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return write_playbook(tmp_path / "site" / "ours.yaml")


def ending(ended: Ended) -> tuple[str, str | None, int]:
    """Status, reason and exit code of the only disk."""
    return ended.document["status"], ended.document["reason"], ended.code


def found_by(ended: Ended) -> set[str]:
    """The playbooks whose findings a document has."""
    return {f["playbook"] for one in ended.document["installations"] for f in one["findings"]}


def test_it_finds_what_the_library_does_not_know(disk: Drilled, ours: Path) -> None:
    before = disk.digest()
    assert ending(run_program("diagnose", disk.image, "--json")) == ("healthy", None, 0)
    with_it = run_program("diagnose", disk.image, "--playbook", ours, "--json")
    assert ending(with_it) == ("found", None, 3)
    assert found_by(with_it) == {NAME}
    assert run_program("scan", disk.image, "--playbook", ours, "--json").document["status"] == "scanned"
    assert disk.digest() == before


def test_the_library_is_weighed_beside_it(drills: Drills, tmp_path: Path, ours: Path) -> None:
    bricked = drills.copy("plain", tmp_path / "disks")
    found = run_program("diagnose", bricked.image, "--playbook", ours, "--json")
    assert found_by(found) == {NAME, "crowdstrike-cf291"}


@pytest.mark.parametrize("name", ["ours.yaml", "playbooks/ours.yaml", None])
def test_a_stations_playbooks_are_used_as_its_medium_would(
    disk: Drilled, tmp_path: Path, name: str | None
) -> None:
    folder = tmp_path / "stick"
    write_playbook(folder / (name or "playbooks/ours.yaml"))
    station = write_station(folder / "unbrick.yaml", *([name] if name else []))
    found = run_program("diagnose", disk.image, "--station", station, "--json")
    assert ending(found) == ("found", None, 3)
    assert found_by(found) == {NAME}


def test_an_undo_wants_the_playbook_and_says_so(disk: Drilled, ours: Path) -> None:
    repaired = run_program("repair", disk.image, "--playbook", ours, "--yes", "--json")
    assert ending(repaired) == ("repaired", None, 0)
    ((action,),) = [one["actions"] for one in repaired.document["installations"]]
    assert action["path"].startswith(PATH)
    before = disk.digest()

    without = run_program("undo", disk.image, "--yes", "--json")
    assert ending(without) == ("needs-hands", "unknown-playbook", 5)
    assert (
        f"what to do: give the file of {NAME}, as it was at the repair, with --playbook FILE" in without.err
    )
    assert disk.digest() == before

    undone = run_program("undo", disk.image, "--playbook", ours, "--yes", "--json")
    assert ending(undone) == ("undone", None, 0)
    assert disk.complaints(repaired=False) == ()


def test_a_run_that_was_cut_off_is_finished_with_its_playbook_only_and_this_is_said(
    disk: Drilled, tmp_path: Path, ours: Path
) -> None:
    cut, target = tmp_path / "cut.img", tmp_path / "target.img"
    cut_out(disk.image, disk.volume, cut)
    shutil.copyfile(cut, target)
    run = run_program("repair", target, "--playbook", ours, "--yes", "--json").document["run"]
    leave_cut(cut, target, run, done=0.5)
    for verb in ("diagnose", "repair", "undo"):
        without = run_program(verb, cut, *(["--yes"] if verb != "diagnose" else []))
        assert without.code == 5, without
        assert "a run was cut off here, and is finished only with its own playbook" in without.said
        assert f"give the file of {NAME}, as it was at the repair, with --playbook FILE" in without.said
    finished = run_program("repair", cut, "--playbook", ours, "--yes", "--json").document
    assert (finished["status"], finished["run"]) == ("repaired", run)


def test_an_undo_by_the_stations_file(disk: Drilled, ours: Path) -> None:
    station = write_station(ours.parent / "unbrick.yaml", ours.name)
    for verb, status in (("repair", "repaired"), ("undo", "undone")):
        ended = run_program(verb, disk.image, "--station", station, "--yes", "--json")
        assert ending(ended) == (status, None, 0)
    assert disk.complaints(repaired=False) == ()


@pytest.mark.parametrize(
    ("was", "now"), [("01 00 1D 01", "01 00 1D 02"), ("C-00000285*.sys", "C-00000286*.sys")]
)
def test_an_undo_by_another_edition_of_the_playbook_is_refused(
    disk: Drilled, ours: Path, was: str, now: str
) -> None:
    assert run_program("repair", disk.image, "--playbook", ours, "--yes", "--json").code == 0
    before = disk.digest()
    write_playbook(ours, TEXT.replace(was, now))
    undo = run_program("undo", disk.image, "--playbook", ours, "--yes", "--json")
    assert ending(undo) == ("needs-hands", "bad-journal", 5)
    assert "as it was then with --playbook FILE" in undo.err
    assert disk.digest() == before


def test_a_playbook_that_cannot_be_used_stops_everything_before_it_begins(
    disk: Drilled, tmp_path: Path, ours: Path
) -> None:
    before = disk.digest()
    bad = write_playbook(tmp_path / "bad.yaml", TEXT.replace("title:", "titel:"))
    taken = write_playbook(tmp_path / "taken.yaml", TEXT.replace(NAME, "crowdstrike-cf291"))
    twice = write_playbook(tmp_path / "twice.yaml", TEXT.replace("in a test", "in another test"))
    station = write_station(tmp_path / "unbrick.yaml", bad.name)
    said = f"{bad}:2: a playbook: expected the key 'title', which is missing; line "
    refusals: tuple[tuple[list[str | Path], str], ...] = (
        (["--playbook", bad], said),
        (["--playbook", tmp_path / "none.yaml"], "none.yaml:1: cannot be read: No such file"),
        (["--playbook", taken], f"{taken}:2: id: expected one that no other playbook has"),
        (["--playbook", ours, "--playbook", twice], f"{twice}:2: id: expected one that no other"),
        (["--station", station], said),
    )
    for options, expected in refusals:
        ended = run_program("repair", disk.image, *options, "--yes")
        assert ended.code == 2
        assert expected in ended.err
        assert len(ended.err.splitlines()) == 2  # what, and what to do
    assert disk.digest() == before


def test_one_that_says_the_same_counts_once(disk: Drilled, tmp_path: Path, ours: Path) -> None:
    other = write_playbook(tmp_path / "copy.yaml", f"# a copy\n{TEXT}")
    found = run_program("diagnose", disk.image, "--playbook", ours, "--playbook", other, "--json")
    (findings,) = [one["findings"] for one in found.document["installations"]]
    assert len(findings) == 1
