"""A change of a volume from its rehearsal to the disk, for tests of what stands below repair and undo."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from unbrick.disks.change.rehearsal import Copy, rehearse
from unbrick.disks.change.views import ChangeOptions
from unbrick.disks.plain import PlainVolume
from unbrick.model import Touched
from unbrick.processes.command import Runner

_NEW_FILES = Touched(made=("\\written", "\\half"), rewritten=("\\written",))


@contextmanager
def change(
    plain: PlainVolume,
    options: ChangeOptions,
    runner: Runner,
    workdir: Path,
    *,
    touched: Touched = _NEW_FILES,
) -> Iterator[Copy]:
    """Do to a copy what the body does, then to the volume; by default new files `written` and `half`.

    What was cut off, and is completed first, may touch the same.
    """
    completing = replace(touched, leaves_clean=True)
    with rehearse(plain, options, runner, workdir, completing=completing) as copy:
        copy.touched = touched
        yield copy
    assert copy.rehearsed is not None
    copy.rehearsed.bring(plain)
