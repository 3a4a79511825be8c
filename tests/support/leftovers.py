"""What a run of the program must not leave behind: mounts, loop devices, processes, temporary files."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None, use_errno=True)
_PATIENCE_SECONDS = 60.0
_WORK_FOLDER = Path("/run/unbrick")


def find_leftovers(folder: Path) -> list[str]:
    """What is left of work on disks below `folder`, in words."""
    return _mounts(folder) + _loops(folder) + _processes() + _files()


def _mounts(folder: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    ours = (str(folder), str(_WORK_FOLDER))
    return [f"a mount: {line}" for line in lines if line.split()[4].startswith(ours)]


def _loops(folder: Path) -> list[str]:
    listed = subprocess.run(["losetup", "--json", "--list"], capture_output=True, text=True, check=True)
    devices = json.loads(listed.stdout or '{"loopdevices": []}')["loopdevices"]
    return [f"a loop device: {one}" for one in devices if str(one["back-file"]).startswith(f"{folder}/")]


def _processes() -> list[str]:
    return [f"a process: {pid} {_command_line(pid)}" for pid in _descendants()]


def _descendants() -> list[int]:
    """Every process that descends from this one: it adopts what its children leave behind."""
    own = os.getpid()
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    return [pid for pid in parents if pid != own and own in _ancestors(pid, parents)]


def _ancestors(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid in parents:
        pid = parents[pid]
        yield pid


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return "gone"


def _files() -> list[str]:
    if not _WORK_FOLDER.exists():
        return []
    return [f"a file: {path}" for path in _WORK_FOLDER.iterdir()]


@contextmanager
def ended_afterwards() -> Iterator[None]:
    """Ends at the end of the block every process that was started in it and still runs."""
    before = {*_descendants()}
    _LIBC.prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        while left := [pid for pid in _descendants() if pid not in before]:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            for pid in left:
                with suppress(ChildProcessError):
                    os.waitpid(pid, 0)  # those of another parent end with it
        _LIBC.prctl(_SET_CHILD_SUBREAPER, 0)


@contextmanager
def nothing_left(folder: Path) -> Iterator[None]:
    """Fails at the end of the block where anything is left, after a little patience with the kernel."""
    before = set(_processes())
    _LIBC.prctl(_SET_CHILD_SUBREAPER, 1)
    try:
        yield
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while left := [one for one in find_leftovers(folder) if one not in before]:
            if time.monotonic() > deadline:
                raise AssertionError("left behind: " + "; ".join(left))
            time.sleep(0.02)
    finally:
        _LIBC.prctl(_SET_CHILD_SUBREAPER, 0)
        _reap()


def _reap() -> None:
    """Take leave of adopted processes that have ended."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
