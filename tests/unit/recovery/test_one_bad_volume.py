"""What the file system says of one volume is no reason to keep quiet about the others of its disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from support.recorded_runner import RecordedRunner

from unbrick.disks.disk import Disk
from unbrick.keys.chain import KeyChain
from unbrick.model import Action, InstallationReport, Status, Volume, VolumeKind, VolumeState
from unbrick.recovery.case import Kit
from unbrick.recovery.outcome import VolumeCase, status_of_error
from unbrick.recovery.story import _trouble_stays_in
from unbrick.report.recorder import Recorder

VOLUME = Volume(4, 0, 1, VolumeKind.NTFS, VolumeState.OPEN)
DISK = Disk(Path("disk.img"), Path("disk.img"), 1, 512, None, ())
KIT = Kit(RecordedRunner(), Recorder("RUN"), KeyChain(()), (), Path())


def _strike(case: VolumeCase) -> None:
    with _trouble_stays_in(case, DISK, KIT):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_volume_that_cannot_be_read_is_its_own_trouble() -> None:
    case = VolumeCase(VOLUME)
    _strike(case)
    assert case.trouble is not None
    assert status_of_error(case.trouble) is Status.FAILED
    assert (case.trouble.reason, case.trouble.message) == (
        "unreadable-disk",
        "partition 4: Input/output error",
    )


def test_a_volume_that_cannot_be_changed_is_its_own_trouble() -> None:
    healthy, faulty = (InstallationReport(4, name, "Windows 10", Status.HEALTHY) for name in ("A", "B"))
    case = VolumeCase(VOLUME, (healthy, faulty))
    action = Action("quarantine-file", "\\B\\x.sys", "p")
    case.show(["\\A", "\\B"], [action], Status.FOUND)
    _strike(case)
    assert case.trouble is not None
    assert case.trouble.message == "partition 4: Input/output error"
    assert [one.status for one in case.installations] == [Status.HEALTHY, Status.FAILED]
