"""Undo on a real NTFS, compared by dissect.ntfs; and journals that must not be obeyed."""

from __future__ import annotations

import gzip
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from support.bricked_volume import (
    CROWDSTRIKE,
    FAULTY,
    FOLDERS,
    GOOD,
    HARD_LINK,
    ZEROED,
    add_hard_link,
    copy_volume,
    findings,
    make_volume,
    mounted,
    place,
    playbooks,
)
from support.ntfs_reader import read_independently
from support.repair_journal import version1, version1_header

from unbrick.drill.disk.truth import FileTruth
from unbrick.errors import NeedsHandsError
from unbrick.model import Action, ActionState, RunState, Touched, Volume, VolumeKind, VolumeState
from unbrick.recovery.outcome import VolumeCase, _runs_of
from unbrick.repair.actions.quarantine_file import QuarantineFile
from unbrick.repair.completion import judge_completion
from unbrick.repair.history import read_runs
from unbrick.repair.journal.document import encode
from unbrick.repair.journal.file import parse
from unbrick.repair.repair import apply_plan, make_plan
from unbrick.repair.security import FILE_DESCRIPTOR, FOLDER_DESCRIPTOR
from unbrick.repair.trust import Authority
from unbrick.repair.undo import apply_undo, find_runs, plan_undo
from unbrick.windows.ntfs_file import write_acl, write_short_name

RUN = "20240719T061203Z-8f3a1c"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    make_volume(folder / "volume.img", folder / "mount")
    return folder / "volume.img"


@pytest.fixture
def image(template: Path, tmp_path: Path) -> Path:
    return copy_volume(template, tmp_path / "volume.img")


@pytest.fixture
def repaired(image: Path, tmp_path: Path) -> Iterator[Path]:
    with mounted(image, tmp_path / "mount") as root:
        repair(root)
        yield root


def repair(root: Path, paths: tuple[str, ...] = (FAULTY, ZEROED), run: str = RUN) -> None:
    apply_plan(
        root,
        make_plan(run, findings(root, paths)),
        volume_was_dirty=False,
        playbooks=playbooks(),
    )


def undo(root: Path, run: str | None = None) -> tuple[Action, ...]:
    plan = plan_undo(root, playbooks(), FOLDERS, run)
    return apply_undo(root, plan).actions


def read(image: Path) -> dict[str, FileTruth]:
    with image.open("rb") as stream:
        found = read_independently(stream)
    return {path: truth for path, truth in found.items() if not path.startswith("\\Unbrick") and path != "\\"}


def names(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_undo_puts_everything_back(image: Path, tmp_path: Path) -> None:
    before = read(image)
    assert before[FAULTY].short_name == "C-0000~1.SYS"
    assert before[FAULTY].streams
    with mounted(image, tmp_path / "mount") as root:
        repair(root)
    assert read(image) != before
    with mounted(image, tmp_path / "mount") as root:
        done = undo(root)
        assert {action.state for action in done} == {ActionState.UNDONE}
        assert [path.name for path in (root / "Unbrick" / RUN).iterdir()] == ["journal.jsonl.gz"]
        assert [run.state for run in find_runs(root)] == [RunState.UNDONE]
        with pytest.raises(NeedsHandsError) as caught:
            plan_undo(root, playbooks(), FOLDERS)
        assert caught.value.reason == "no-run"
    assert read(image) == before


def test_a_run_of_an_older_version_is_undone(image: Path, tmp_path: Path) -> None:
    """Its journal was not compressed, and had the name for that."""
    before = read(image)
    with mounted(image, tmp_path / "mount") as root:
        repair(root)
        journal = root / "Unbrick" / RUN / "journal.jsonl.gz"
        former = journal.with_suffix("")
        former.write_bytes(as_version1(journal))
        write_acl(former, FILE_DESCRIPTOR)
        journal.unlink()
        undo(root)
        assert [run.state for run in find_runs(root)] == [RunState.UNDONE]
    assert read(image) == before


def test_runs_are_undone_one_after_the_other_down_to_the_folders_times(image: Path, tmp_path: Path) -> None:
    before = read(image)
    with mounted(image, tmp_path / "mount") as root:
        repair(root, (FAULTY,), "20240719T061203Z-000001")
        repair(root, (ZEROED,), "20240719T071203Z-000002")
        assert [action.path for action in undo(root)] == [ZEROED]
        assert [action.path for action in undo(root)] == [FAULTY]
    assert read(image) == before


def test_a_repair_after_an_undo_is_a_run_of_its_own(repaired: Path) -> None:
    undo(repaired)
    repair(repaired, run="20240720T061203Z-000003")
    assert [run.state for run in find_runs(repaired)] == [RunState.REPAIRED, RunState.UNDONE]


def test_hard_links_elsewhere_stay_the_same_file(image: Path, tmp_path: Path) -> None:
    with mounted(image, tmp_path / "mount") as root:
        add_hard_link(root)
    before = read(image)
    assert before[FAULTY].links == 2
    with mounted(image, tmp_path / "mount") as root:
        repair(root)
        assert place(root, HARD_LINK).exists()
        plan = plan_undo(root, playbooks(), FOLDERS)
        assert any("8.3 name" in note for note in plan.notes)
        undo(root)
        assert place(root, FAULTY).samefile(place(root, HARD_LINK))
    after = read(image)
    # ntfs-3g sets no 8.3 name on a file with two long ones; the plan says so.
    assert replace(after[FAULTY], short_name="C-0000~1.SYS") == before[FAULTY]
    assert {p: t for p, t in after.items() if p != FAULTY} == {p: t for p, t in before.items() if p != FAULTY}


def test_an_8_3_name_that_was_taken_since_is_said_and_left_alone(repaired: Path) -> None:
    write_short_name(place(repaired, f"{CROWDSTRIKE}\\C-00000000-00000000-00000000.sys"), "C-0000~1.SYS")
    plan = plan_undo(repaired, playbooks(), FOLDERS)
    assert any("another file has it" in note for note in plan.notes)
    undo(repaired)
    assert place(repaired, FAULTY).exists()
    assert place(repaired, f"{CROWDSTRIKE}\\C-0000~1.SYS").samefile(
        place(repaired, f"{CROWDSTRIKE}\\C-00000000-00000000-00000000.sys")
    )


def _a_stream_more(file: Path) -> None:
    os.setxattr(file, "user.letter", b"Dear all")


def _a_stream_less(file: Path) -> None:
    os.removexattr(file, "user.Zone.Identifier")


def _other_rights(file: Path) -> None:
    write_acl(file, FILE_DESCRIPTOR)


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (_a_stream_more, "no run has put there: letter"),
        (_a_stream_less, "lost its stream Zone.Identifier"),
        (_other_rights, "other access rights"),
    ],
)
def test_a_file_that_was_changed_in_the_quarantine_stays_there(
    repaired: Path, harm: Callable[[Path], None], said: str
) -> None:
    (file,) = repaired.glob("Unbrick/*/0001.bin")
    harm(file)
    assert said in refused(repaired, "quarantine-changed")


def test_of_two_runs_in_one_second_the_later_is_the_newest(image: Path, tmp_path: Path) -> None:
    """After the second, an id is chance."""
    first, second = (f"20240719T061203Z-{tail * 6}" for tail in "f0")
    with mounted(image, tmp_path / "mount") as root:
        repair(root, (FAULTY,), first)
        repair(root, (ZEROED,), second)
        assert [run.run for run in find_runs(root)] == [second, first]
        runs, _ = read_runs(root, 3)
        told = _runs_of([VolumeCase(Volume(3, 0, 1, VolumeKind.NTFS, VolumeState.OPEN), runs=runs[::-1])])
        assert [run.run for run in told] == [second, first]
        for run in (second, first):
            assert plan_undo(root, playbooks(), FOLDERS).run == run
            undo(root)


def test_something_in_the_way_stays(repaired: Path) -> None:
    place(repaired, FAULTY).with_name(place(repaired, FAULTY).name.upper()).write_bytes(b"a newer file")
    refused(repaired, "something-in-the-way")


def test_a_parent_that_became_a_link_is_not_followed(repaired: Path) -> None:
    parent = place(repaired, CROWDSTRIKE)
    parent.rename(parent.with_name("Elsewhere"))
    parent.symlink_to("Elsewhere")
    refused(repaired, "something-in-the-way")


def test_a_playbook_that_is_not_here(repaired: Path) -> None:
    with pytest.raises(NeedsHandsError) as caught:
        plan_undo(repaired, (), FOLDERS)
    assert caught.value.reason == "unknown-playbook"


def test_another_windows_folder_than_the_journals(repaired: Path) -> None:
    with pytest.raises(NeedsHandsError) as caught:
        plan_undo(repaired, playbooks(), ("\\Windows.old",))
    assert caught.value.reason == "bad-journal"


def test_no_run_of_that_id(repaired: Path) -> None:
    refused(repaired, "no-run", run="20240719T061203Z-000000")


def refused(root: Path, reason: str, run: str | None = None) -> str:
    """Planning an undo is refused, and nothing is written; gives the message."""
    before = names(root)
    with pytest.raises(NeedsHandsError) as caught:
        undo(root, run)
    assert caught.value.reason == reason
    assert names(root) == before
    return caught.value.message


def test_a_changed_file_in_the_quarantine_is_not_put_back(repaired: Path) -> None:
    (repaired / "Unbrick" / RUN / "0001.bin").write_bytes(b"something that a user would like to run")
    refused(repaired, "bad-journal")


def test_a_link_in_the_quarantine_is_not_followed(repaired: Path) -> None:
    folder = repaired / "Unbrick" / RUN
    (folder / "0001.bin").rename(repaired / "real")
    (folder / "0001.bin").symlink_to("../../real")
    refused(repaired, "bad-journal")


@pytest.mark.parametrize("which", [".", RUN, f"{RUN}/journal.jsonl.gz", f"{RUN}/journal.jsonl.gz:owner"])
def test_what_others_may_write_is_not_believed(repaired: Path, which: str) -> None:
    name, _, owner = which.partition(":")
    path = repaired / "Unbrick" / name
    if owner:
        users = bytes.fromhex("01020000000000052000000021020000")
        descriptor = FILE_DESCRIPTOR[:20] + users + FILE_DESCRIPTOR[36:]
    else:
        descriptor = FILE_DESCRIPTOR.replace(
            bytes.fromhex("010100000000000512000000"), b"\1\1\0\0\0\0\0\1\0\0\0\0"
        )
    write_acl(path, descriptor)
    refused(repaired, "foreign-quarantine")


def as_version1(journal: Path) -> bytes:
    """What the journal of a run would have been, not compressed, before journals named kinds."""
    said = parse(gzip.decompress(journal.read_bytes()))
    assert said is not None
    return version1(said.state, header=version1_header(said))


def _move_to(parent: str, name: str) -> dict[str, object]:
    return {"source": f"{parent}\\{name}"}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"size": 1},
        {"quarantined_as": "0002.bin"},
        {"quarantined_as": "0003.bin"},
        _move_to("\\Windows\\System32\\drivers", "C-00000291-00000000-00000032.sys"),
        _move_to("\\Windows\\System32", "evil.dll"),
        _move_to("\\Windows\\Temp", "C-00000291-00000000-00000032.sys"),
        _move_to(CROWDSTRIKE, "C-00000290-00000000-00000099.sys"),
    ],
)
def test_a_planted_journal_does_nothing(repaired: Path, change: dict[str, object], version: int) -> None:
    """Sound checks, right owner, right ACL, and still an entry that no playbook could have written."""
    plant(repaired / "Unbrick" / RUN, change, version)
    refused(repaired, "bad-journal")


@pytest.mark.parametrize("version", [1, 2])
def test_an_undo_that_is_completed_leaves_the_journal_that_was_there(
    image: Path, tmp_path: Path, version: int
) -> None:
    """A record on the disk could have any other written in its place."""
    with mounted(image, tmp_path / "mount") as root:
        repair(root)
        plant(root / "Unbrick" / RUN, {}, version)
    after = copy_volume(image, tmp_path / "after.img")
    authority = Authority(playbooks(), FOLDERS)

    def judged() -> Touched:
        with mounted(after, tmp_path / "after", "ro") as completed:
            return judge_completion(
                completed, lambda: mounted(image, tmp_path / "mount", "ro"), RUN, authority
            )

    with mounted(after, tmp_path / "after") as root:
        undo(root)
    assert {new for _, new in judged().moved} == {FAULTY, ZEROED}
    with mounted(after, tmp_path / "after") as root:
        plant(root / "Unbrick" / RUN, {"links": 7}, version)
    with pytest.raises(NeedsHandsError, match="another of it"):
        judged()


def test_a_planted_run_brings_no_file_of_its_own(repaired: Path) -> None:
    """An attacker's good-looking file under a faulty name: it is not what the playbook would have moved."""
    folder = repaired / "Unbrick" / "20240719T061203Z-bad000"
    folder.mkdir()
    write_acl(folder, FOLDER_DESCRIPTOR)
    os.link(place(repaired, GOOD), folder / "0001.bin")
    content = place(repaired, GOOD).read_bytes()
    journal = folder / "journal.jsonl.gz"
    journal.write_bytes((repaired / "Unbrick" / RUN / journal.name).read_bytes())
    write_acl(journal, FILE_DESCRIPTOR)
    change = {
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "source": f"{CROWDSTRIKE}\\C-00000291-planted.sys",
    }
    plant(folder, change)
    refused(repaired, "bad-journal")


def plant(folder: Path, change: Mapping[str, object], version: int = 2) -> None:
    """Have the journal in a run's folder say something else of its first file, with sound checks.

    Where that is another path, it is the only file that the journal names.
    """
    path = folder / "journal.jsonl.gz"
    journal = parse(gzip.decompress(path.read_bytes()))
    assert journal is not None
    first, *others = journal.entries
    assert isinstance(first, QuarantineFile)
    entries = (replace(first, **change), *([] if "source" in change else others))  # type: ignore[arg-type]
    journal = replace(journal, run=folder.name, entries=entries)
    if version == 1:
        states = (RunState.REPAIRED, RunState.UNDONE)[: 1 if journal.state is RunState.REPAIRED else 2]
        path.write_bytes(gzip.compress(version1(*states, header=version1_header(journal))))
    else:
        path.write_bytes(gzip.compress(encode(journal)))
