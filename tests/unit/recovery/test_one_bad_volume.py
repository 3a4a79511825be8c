"""What the file system says of one volume is no reason to keep quiet about the others of its disk."""

from __future__ import annotations

import errno
import os

from unbrick.model import Status, Volume, VolumeKind, VolumeState
from unbrick.recovery.case import Case
from unbrick.recovery.outcome import status_of_error
from unbrick.recovery.story import _blame_installations, _trouble_stays_in


def test_a_volume_that_cannot_be_read_is_its_own_trouble() -> None:
    case = Case(Volume(4, 0, 1, VolumeKind.NTFS, VolumeState.OPEN))
    with _trouble_stays_in(case):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert case.trouble is not None
    assert status_of_error(case.trouble) is Status.FAILED
    assert (case.trouble.reason, case.trouble.message) == (
        "unreadable-disk",
        "partition 4: Input/output error",
    )


def test_a_volume_that_cannot_be_changed_is_its_own_trouble() -> None:
    case = Case(Volume(4, 0, 1, VolumeKind.NTFS, VolumeState.OPEN))
    with _blame_installations(case):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert case.trouble is not None
    assert case.trouble.message == "partition 4: Input/output error"
