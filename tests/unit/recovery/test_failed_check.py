"""What is said of files that were moved, where only the check that follows fails."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.diagnosis.diagnose import Diagnosis
from unbrick.disks.bitlocker.master_key import KnownKey
from unbrick.disks.change.rehearsal import Rehearsed
from unbrick.disks.change.views import View
from unbrick.disks.disk import Disk
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError
from unbrick.keys.chain import KeyChain
from unbrick.model import (
    ActionState,
    FilesystemState,
    InstallationReport,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery import change
from unbrick.recovery.case import Found, Goal, Kit, Order
from unbrick.recovery.change import Change, CutRun, Ready, carry_out, verify
from unbrick.recovery.outcome import Draft, VolumeCase
from unbrick.recovery.story import _trouble_stays_in
from unbrick.repair.actions.quarantine_file import MovedFile
from unbrick.report.recorder import Recorder
from unbrick.windows.installation import Installation

RUN = "20261124T081500Z-0a1b2c"
ACTION = MovedFile(
    "quarantine-file", "\\Windows\\x.sys", "p", sha256="0" * 64, size=1, quarantined_as="0001.bin"
)
DISK = Path("disk.img")


class _Reached:
    def bring(self, plain: PlainVolume) -> None:
        """All goes well."""


class _Refused:
    def bring(self, plain: PlainVolume) -> None:
        raise FailedError("what was written did not reach the disk")


@contextmanager
def _unreadable(*_: object) -> Iterator[None]:
    raise FailedError("the disk gives an error")
    yield


@pytest.mark.parametrize(
    ("rehearsed", "state"), [(_Reached(), ActionState.DONE), (_Refused(), ActionState.FAILED)]
)
def test_a_file_was_moved_if_that_has_reached_the_disk(
    monkeypatch: pytest.MonkeyPatch, rehearsed: Rehearsed, state: ActionState
) -> None:
    done = (replace(ACTION, state=ActionState.DONE),)
    monkeypatch.setattr(change, "look", _unreadable)
    case = VolumeCase(
        Volume(3, 0, 1, VolumeKind.NTFS, VolumeState.OPEN),
        (InstallationReport(3, "PC-1", "Windows 10", Status.FOUND),),
    )
    plain = PlainVolume(DISK, 1, lambda: None)
    view = View(DISK, FilesystemState.CLEAN)
    windows = ((Installation("\\Windows"), Diagnosis((), (), None, "")),)
    found = Found(case, plain, KnownKey(), view, ExitStack(), windows)
    planned = Change(found, CutRun(), Status.REPAIRED, lambda _: None, RUN, (ACTION,))
    ready = Ready(planned, rehearsed, done, ())
    case.show(found.folders, (ACTION,), Status.FOUND)
    kit = Kit(RecordedRunner(), Recorder(RUN), KeyChain(()), (), DISK)
    draft = Draft(DISK, run=RUN, cases=[case])
    with _trouble_stays_in(case, Disk(DISK, DISK, 1, 512, None, ()), kit):
        carry_out(ready, plain, Order(DISK, Goal.REPAIR), kit, draft)
        verify(ready, plain, kit)
    (report,) = draft.report().installations
    assert (report.status, report.actions[0].state) == (Status.FAILED, state)
