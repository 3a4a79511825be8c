"""A program for the isolation tests: mounts all there is to mount in a namespace, says so, and waits.

Arguments: a disk image with an NTFS at 1 MiB, a BitLocker image (or `-`), its password, a file to write when
all is mounted, and how it goes on when that file's twin `.go` appears: `return`, `raise`, or `wait` for ever.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

from unbrick.disks.bitlocker.unlock import unlock
from unbrick.disks.change.rehearsal import rehearse
from unbrick.disks.change.views import ChangeOptions
from unbrick.disks.disk import Disk
from unbrick.disks.plain import open_plain
from unbrick.errors import NeedsHandsError, UnbrickError
from unbrick.model import Touched, Volume, VolumeKind, VolumeState
from unbrick.processes.command import SystemRunner
from unbrick.processes.isolation import run_isolated
from unbrick.secret import Secret

OFFSET = 1 << 20


def unlocked(locked: Path, password: str, workdir: Path) -> AbstractContextManager[object]:
    if str(locked) == "-":
        return nullcontext()
    size = locked.stat().st_size
    volume = Volume(None, 0, size, VolumeKind.BITLOCKER, VolumeState.LOCKED)
    disk = Disk(locked, locked, size, 512, None, ())
    return unlock(disk, volume, Secret(password), SystemRunner(), workdir)


def processes_here() -> int:
    """How many processes there are in our own process namespace; /proc shows those around it, too."""
    own = Path("/proc/self/ns/pid").stat().st_ino
    found = 0
    for entry in Path("/proc").iterdir():
        with suppress(OSError):
            found += entry.name.isdigit() and (entry / "ns" / "pid").stat().st_ino == own
    return found


def mount_everything(image: Path, locked: Path, password: str, ready: Path, end: str, workdir: Path) -> str:
    size = image.stat().st_size
    volume = Volume(1, OFFSET, size - OFFSET, VolumeKind.NTFS, VolumeState.OPEN)
    runner = SystemRunner()
    with (
        unlocked(locked, password, workdir),
        open_plain(Disk(image, image, size, 512, None, ()), volume, None, runner, workdir) as plain,
    ):
        with rehearse(plain, ChangeOptions(), runner, workdir) as mounted:
            mounted.touched = Touched(made=("\\written",))
            (mounted.root / "written").write_text("by the worker")
            state = {
                "namespace": Path("/proc/self/ns/pid").stat().st_ino,
                "pid": os.getpid(),
                "processes": processes_here(),
                "mounts": sum(
                    str(workdir) in line for line in Path("/proc/self/mountinfo").read_text().splitlines()
                ),
            }
            ready.with_suffix(".new").write_text(json.dumps(state))
            ready.with_suffix(".new").rename(ready)
            while end == "wait" or not ready.with_suffix(".go").exists():
                time.sleep(0.01)
            if end == "raise":
                raise NeedsHandsError("as asked", reason="hibernated", hint="none")
        assert mounted.rehearsed is not None
        mounted.rehearsed.bring(plain)
    return "done"


def main() -> int:
    image, locked, password, ready, end = sys.argv[1:]
    try:
        print(
            run_isolated(
                lambda workdir: mount_everything(
                    Path(image), Path(locked), password, Path(ready), end, workdir
                )
            )
        )
    except UnbrickError as error:
        print(f"{type(error).__name__}: {error} [{error.reason}]")
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
