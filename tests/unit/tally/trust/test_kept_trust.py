"""An older copy of the register is as loud as lost reports: whom somebody revoked is not trusted again."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from unbrick.tally.books.acknowledged import MarkFile, read_mark, read_trust
from unbrick.tally.folder import TallyFolder, parse_address
from unbrick.tally.records import LossError
from unbrick.tally.store.opening import Opening, open_to_serve
from unbrick.tally.store.store import Store
from unbrick.tally.trust import register
from unbrick.tally.trust.audit import AuditLog
from unbrick.tally.trust.authority import create_authority, enrol, renew, revoke, unrevoke
from unbrick.tally.trust.register import RegisterError, StationRegister, lost_trust
from unbrick.tally.upkeep.backup import back_up
from unbrick.tally.upkeep.check import check_tally


@pytest.fixture
def folder(tmp_path: Path) -> TallyFolder:
    """A tally with two sticks that was served once."""
    folder = create_authority(
        tmp_path / "tally", parse_address("127.0.0.1"), make_database=lambda path: Store.open(path).close()
    )
    for name in ("a", "b"):
        enrol(folder.path, name, "north", tmp_path / name)
    served(folder)
    return folder


def served(folder: TallyFolder, accepted_by: str | None = None) -> list[str]:
    """What is said when it is opened to be served."""
    said: list[str] = []
    store = open_to_serve(folder, AuditLog(folder.audit), Opening(accepted_by, said.append))
    store.end_serving()
    store.close()
    return said


def test_an_older_register_is_not_served_until_a_person_accepts_that(
    folder: TallyFolder, tmp_path: Path
) -> None:
    older = folder.stations.read_bytes()
    revoke(folder.path, "a", why="stolen")
    enrol(folder.path, "c", "north", tmp_path / "c")
    assert served(folder) == []
    folder.stations.write_bytes(older)
    sentence = "2 changes of who may report are missing, 1 of them revoked a station"
    with pytest.raises(LossError, match=sentence) as caught:
        served(folder)
    assert "revoke again" in str(caught.value.hint)
    assert [sentence in one for one in check_tally(folder.path, signatures=False).complaints] == [True]
    with pytest.raises(RegisterError, match=sentence):  # what is done meanwhile does not make up for it
        enrol(folder.path, "d", "north", tmp_path / "d")
    with pytest.raises(LossError, match=sentence):
        served(folder)
    said = served(folder, "kim")
    assert any(sentence in one for one in said)
    audit = [json.loads(line) for line in folder.audit.read_text().splitlines()]
    assert [(one["trust"], one["by"]) for one in audit if one["what"] == "loss-accepted"] == [(2, "kim")]
    assert served(folder) == []


def test_who_serves_lets_nobody_in_by_an_older_register(folder: TallyFolder) -> None:
    older = folder.stations.read_bytes()
    revoke(folder.path, "a")
    register = StationRegister(folder.stations)
    register.refresh()
    folder.stations.write_bytes(older)
    with pytest.raises(RegisterError, match="older copy"):
        register.refresh()
    assert register.current("a") is None


def test_a_revocation_that_was_taken_back_is_a_change_as_well(folder: TallyFolder) -> None:
    revoke(folder.path, "a")
    revoked = folder.stations.read_bytes()
    unrevoke(folder.path, "a")
    folder.stations.write_bytes(revoked)
    loss = lost_trust(folder)
    assert loss is not None
    assert (loss.trust, loss.revocations) == (1, 0)


def test_a_new_certificate_changes_nothing_of_whom_the_tally_trusts(folder: TallyFolder) -> None:
    older = folder.stations.read_bytes()
    renew(folder.path, "a", days=10)
    folder.stations.write_bytes(older)
    assert lost_trust(folder) is None
    assert served(folder) == []


def test_a_revocation_lands_though_the_mark_cannot_be_written(
    folder: TallyFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(MarkFile, "write_trust", full)
        register = StationRegister(folder.stations)
        register.refresh()
        revoke(folder.path, "a")
        renew(folder.path, "b", days=10)  # which changes nothing of whom the tally trusts
        register.refresh()
        revoke(folder.path, "b")
        register.refresh()
    assert register.current("a") is register.current("b") is None
    unrevoke(folder.path, "b")
    register.refresh()
    assert served(folder) == []
    assert read_trust(folder.path / "tally.mark") is not None


def test_the_mark_of_reports_and_that_of_the_register_leave_each_other_alone(
    folder: TallyFolder, tmp_path: Path
) -> None:
    before = read_mark(folder.path / "tally.mark")
    revoke(folder.path, "a")
    assert read_mark(folder.path / "tally.mark") == before
    noted = read_trust(folder.path / "tally.mark")
    served(folder)
    assert read_trust(folder.path / "tally.mark") == noted


def test_a_backup_is_as_loud_as_what_it_copied(folder: TallyFolder, tmp_path: Path) -> None:
    older = folder.stations.read_bytes()
    revoke(folder.path, "a")
    back_up(folder.path, tmp_path / "whole")
    assert lost_trust(TallyFolder(tmp_path / "whole")) is None
    shutil.copy(folder.stations, tmp_path / "newest.json")
    folder.stations.write_bytes(older)
    back_up(folder.path, tmp_path / "older")
    copy = TallyFolder(tmp_path / "older")
    assert lost_trust(copy) == lost_trust(folder)
    with pytest.raises(LossError, match=r"1 change of who may report is missing"):
        served(copy)
    shutil.copy(tmp_path / "newest.json", copy.stations)
    assert served(copy) == []


def test_a_register_of_another_branch_with_as_many_changes_is_not_served(
    folder: TallyFolder, tmp_path: Path
) -> None:
    fork = tmp_path / "fork"
    shutil.copytree(folder.path, fork)
    revoke(folder.path, "a", why="stolen")
    revoke(fork, "b")
    serving = StationRegister(folder.stations)
    serving.refresh()
    folder.stations.write_bytes((fork / "stations.json").read_bytes())
    with pytest.raises(LossError, match=r"stations\.json is another copy"):
        served(folder)
    assert not check_tally(folder.path, signatures=True).is_well
    with pytest.raises(RegisterError, match="another copy"):
        serving.refresh()


@pytest.mark.parametrize("size", [0, 600, 2000, 2300, 4096, 6000])
def test_a_mark_that_lost_what_it_knew_of_the_register_is_loud(
    folder: TallyFolder, tmp_path: Path, size: int
) -> None:
    older = folder.stations.read_bytes()
    revoke(folder.path, "a")
    enrol(folder.path, "c", "north", tmp_path / "c")
    folder.stations.write_bytes(older)
    os.truncate(folder.path / "tally.mark", size)
    with pytest.raises(LossError):
        served(folder)
    assert not check_tally(folder.path, signatures=False).is_well


def test_an_older_mark_beside_a_newer_register_is_loud(folder: TallyFolder, tmp_path: Path) -> None:
    shutil.copy(folder.path / "tally.mark", tmp_path / "older.mark")
    enrol(folder.path, "c", "north", tmp_path / "c")
    shutil.copy(tmp_path / "older.mark", folder.path / "tally.mark")
    with pytest.raises(LossError, match=r"tally\.mark is an older copy"):
        served(folder)
    assert any("is an older copy" in one for one in served(folder, "kim"))
    assert served(folder) == []


@pytest.mark.parametrize("landed", [0, 1, 2])
def test_a_change_that_is_cut_off_anywhere_is_no_other_copy(
    folder: TallyFolder, monkeypatch: pytest.MonkeyPatch, landed: int
) -> None:
    """Between the mark's note of what is to come, the register, and the note of what is."""
    left = [landed]

    def cut(inner: Any) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            return inner(*arguments, **named)

        return step

    with monkeypatch.context() as patched:
        patched.setattr(register, "_write", cut(register._write))
        patched.setattr(register, "_note", cut(register._note))
        with pytest.raises(KeyboardInterrupt):
            revoke(folder.path, "a")
    now = StationRegister(folder.stations)
    now.refresh()
    assert (now.current("a") is None) is (landed == 2)
    assert served(folder) == []
    if landed < 2:
        revoke(folder.path, "a")
    assert served(folder) == []


def test_a_register_that_cannot_be_read_is_a_complaint(folder: TallyFolder) -> None:
    whole = folder.stations.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], None):
        folder.stations.unlink() if damaged is None else folder.stations.write_bytes(damaged)
        found = check_tally(folder.path, signatures=True)
        assert any("stations.json" in one for one in found.complaints)


def test_a_folder_of_an_earlier_unbrick_is_taken_as_it_is_and_chained_by_its_next_change(
    folder: TallyFolder, tmp_path: Path
) -> None:
    document = json.loads(folder.stations.read_text())
    assert document.pop("chain")
    folder.stations.write_text(json.dumps(document))
    (folder.path / "tally.mark").unlink()
    Store.open(folder.database).close()
    assert served(folder) == []
    older = folder.stations.read_bytes()
    revoke(folder.path, "a")
    assert served(folder) == []
    folder.stations.write_bytes(older)
    with pytest.raises(LossError, match="1 change of who may report is missing, 1 of them revoked"):
        served(folder)
