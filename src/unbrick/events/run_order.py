"""Keeps the runs of one medium in their order, whatever the clocks of the machines say.

Runs are ordered by their ids, which begin with the time. A machine with a dead battery starts in the same
minute of 2009 each time: without this, what was found on a second visit would count as older than the first.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from unbrick.events.run_id import begun_at, is_run_id, moment_of_run

_NAME = ".last-run"


def run_in_order(proposed: str, folder: Path, *, latest: datetime | None = None) -> str:
    """The id for a new run: the proposed one, or one a second after the last run that `folder` remembers.

    A remembered run after `latest` came from a clock that ran ahead, and is forgotten. Where the folder
    cannot be used, the proposed id stands; nothing of ours is raised.
    """
    run = proposed
    with suppress(OSError):
        descriptor = os.open(
            folder / _NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600
        )
        with os.fdopen(descriptor, "r+b", buffering=0) as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return proposed
            # Another run that holds the lock begins at this moment: which one is first does not matter.
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            last = stream.read(64).decode("ascii", errors="replace").strip()
            run = _after(proposed, last, latest)
            stream.seek(0)
            stream.write(f"{run}\n".encode())  # in place: also where no space is left
            stream.truncate()
            os.fsync(descriptor)
    return run


def _after(proposed: str, last: str, latest: datetime | None) -> str:
    if not is_run_id(last) or last < proposed:
        return proposed
    try:
        time = moment_of_run(last) + timedelta(seconds=1)
    except (ValueError, OverflowError):
        return proposed
    if latest is not None and time > latest:
        return proposed
    return begun_at(proposed, time)
