"""Trying the passwords that there are on one volume, and what is said of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.recorded_runner import RecordedRunner
from support.recovery_passwords import make_password

from unbrick.diagnosis.diagnose import Diagnosis
from unbrick.disks.bitlocker.master_key import KeyWrongError, KnownKey
from unbrick.disks.change.views import View
from unbrick.disks.disk import Disk
from unbrick.errors import NeedsKeyError
from unbrick.events.event import Event
from unbrick.keys.chain import KeyChain
from unbrick.keys.password import RecoveryPassword
from unbrick.keys.sources.files import KeyFiles
from unbrick.keys.sources.source import Candidate, KeySource
from unbrick.model import FilesystemState, Protector, ProtectorKind, Volume, VolumeKind, VolumeState
from unbrick.recovery import looking
from unbrick.recovery.case import Goal, Kit, Order
from unbrick.recovery.outcome import VolumeCase
from unbrick.report.recorder import Recorder
from unbrick.windows.installation import Installation

DISK = Disk(Path("disk.img"), Path("disk.img"), 1, 512, None, ())
IDS = [f"{number:08}-0000-0000-0000-000000000000" for number in range(20)]


class Source:
    """One password under the last protector's id, and one that is kept under none."""

    name = "keys.csv"
    interactive = False
    warnings = ()

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        for known, group in ((IDS[-1], "000011"), (None, "000022")):
            yield Candidate(known, RecoveryPassword.parse("-".join([group] * 8)), "keys.csv line 2")


def locked(*protectors: Protector) -> VolumeCase:
    return VolumeCase(Volume(3, 0, 1, VolumeKind.BITLOCKER, VolumeState.LOCKED, protectors=protectors))


def unlock(
    case: VolumeCase,
    monkeypatch: pytest.MonkeyPatch,
    untried: int,
    source: KeySource | None = None,
    heard: Callable[[Event], None] = lambda _: None,
) -> list[str | None]:
    """Try what there is on a volume that nothing opens; the ids that each password was tried under."""
    wanted: list[str | None] = []

    @contextmanager
    def refuse(*_: object, **options: Any) -> Iterator[None]:
        wanted.append(options["wanted"])
        raise KeyWrongError("wrong", untried=untried)
        yield

    monkeypatch.setattr(looking, "open_plain", refuse)
    ids = [one.id for one in case.volume.protectors if one.kind is ProtectorKind.RECOVERY_PASSWORD]
    recorder, keys = Recorder("RUN", [heard]), KeyChain([source or Source()])
    kit = Kit(RecordedRunner(), recorder, keys, (), Path("work"))
    with pytest.raises(NeedsKeyError) as caught, ExitStack() as held:
        looking._unlock(case, ids, KnownKey(), DISK, kit, held)
    case.trouble = caught.value
    return wanted


def test_a_password_goes_with_its_key_id_and_what_was_not_tried_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = locked(*(Protector(one, ProtectorKind.RECOVERY_PASSWORD) for one in IDS))
    assert unlock(many, monkeypatch, 4) == [IDS[-1], None]
    assert any("tried for only 16 of them" in note for note in many.notes)
    few = locked(Protector(IDS[0], ProtectorKind.RECOVERY_PASSWORD))
    unlock(few, monkeypatch, 0)
    assert not any("of them" in note for note in few.notes)


def test_of_many_tries_it_is_told_how_many_there_were(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = KeyFiles("keys.csv", ["\n".join(["RecoveryKey", *map(make_password, range(25))]).encode()])
    case = locked(Protector(IDS[0], ProtectorKind.RECOVERY_PASSWORD))
    heard: list[Event] = []
    assert unlock(case, monkeypatch, 0, keys, heard.append) == [None] * 25
    assert [one.details["tried"] for one in heard if one.kind == "note"] == [10, 20]


def test_nothing_is_tried_where_there_is_no_recovery_password(monkeypatch: pytest.MonkeyPatch) -> None:
    case = locked(Protector(IDS[0], ProtectorKind.PASSPHRASE), Protector(IDS[1], ProtectorKind.TPM_PIN))
    assert unlock(case, monkeypatch, 0) == []
    assert case.trouble is not None
    assert case.trouble.message.endswith(
        "it opens only with its own password or in its own computer, with its PIN"
    )
    assert case.trouble.reason == "key-missing"


def test_the_keys_that_a_windows_keeps_are_known_of_it_whatever_is_done() -> None:
    windows = Installation("\\Windows", auto_unlocked=("KEPT",))
    view = View(Path(), FilesystemState.CLEAN)
    for goal in Goal:
        order = Order(Path("disk.img"), goal)
        diagnosis = Diagnosis((), (), None, "healthy")
        report = looking._report(windows, diagnosis, view, locked(), order)
        assert report.auto_unlocked == ("KEPT",)
        assert "KEPT" not in str(report.to_document())
