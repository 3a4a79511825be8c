"""A repair that is stopped at any moment, in any way: nothing is left, and the next run ends it well."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from support.contract_schema import check_document
from support.drilled import Drilled, Drills
from support.leftovers import find_leftovers
from support.program import run_program, start_program

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_SEED = 20240719
_TRIES = 20
_STOPPED = "unbrick: stopped; nothing is lost, run the same command again to go on\n"
_WAYS = ("SIGINT", "SIGTERM", "SIGKILL", "SIGKILL of the child")


def _moments() -> list[tuple[int, str, float]]:
    """A way to stop it and a share of the whole run's time, for each try; every fifth is near the writes."""
    dice = random.Random(_SEED)
    shares = [dice.uniform(0.0, 0.6) if one % 3 == 0 else dice.uniform(0.6, 1.0) for one in range(_TRIES)]
    return [(one, _WAYS[one % len(_WAYS)], share) for one, share in enumerate(shares)]


@pytest.fixture(scope="module")
def seconds(drills: Drills, tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long the work on such a disk takes here."""
    disk = drills.copy("xts-128", tmp_path_factory.mktemp("timed") / "disks")
    process, _ = _start_repair(disk)
    started = time.monotonic()
    process.communicate(timeout=60)
    assert process.returncode == 0
    return time.monotonic() - started


def _start_repair(disk: Drilled) -> tuple[subprocess.Popen[str], int]:
    """The program, which has just begun to work on the disk, and its child that does."""
    process = start_program("repair", disk.image, "--keys", disk.keys, "--yes", "--json")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + 60
    while True:
        # Another child has read the keys before this one.
        for child in map(int, children.read_text().split()):
            if _works_apart(child):
                return process, child
        assert time.monotonic() < deadline
        time.sleep(0.001)


def _works_apart(process: int) -> bool:
    """Whether it has the mounts of its own that work on a disk begins with."""
    with contextlib.suppress(FileNotFoundError, PermissionError):  # the second while it ends
        return Path(f"/proc/{process}/ns/mnt").readlink() != Path("/proc/self/ns/mnt").readlink()
    return False


def _stop(process: subprocess.Popen[str], child: int, way: str) -> None:
    with suppress(ProcessLookupError):
        if way == "SIGKILL of the child":
            os.kill(child, signal.SIGKILL)
        else:
            process.send_signal(signal.Signals[way])


def _wait_until_nothing_is_left(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while left := find_leftovers(folder):
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


@pytest.mark.parametrize(("number", "way", "share"), _moments())
def test_a_stopped_repair_is_ended_by_the_next(
    drills: Drills, tmp_path: Path, seconds: float, number: int, way: str, share: float
) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    process, child = _start_repair(disk)
    time.sleep(share * seconds)
    _stop(process, child, way)
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in out + err
    assert "internal error" not in out + err
    _wait_until_nothing_is_left(tmp_path)
    if way == "SIGKILL of the child" and '"reason": "interrupted"' in out:
        assert process.returncode == 1
    _ends_well(disk)


def _ends_well(disk: Drilled) -> None:
    ended = run_program("repair", disk.image, "--keys", disk.keys, "--yes", "--json")
    assert ended.document["status"] in {"repaired", "healthy"}, ended
    assert ended.code == 0
    assert disk.complaints(repaired=True) == ()


def test_a_signal_is_told_in_one_line(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        process, _ = _start_repair(disk)
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
        document = json.loads(out)
        check_document(document)
        assert (document["status"], document["reason"]) == ("failed", "interrupted")
        assert process.returncode == code
        assert err == _STOPPED
    _ends_well(disk)


def test_ctrl_c_is_told_in_one_line_while_the_program_is_still_read() -> None:
    told = [sys.executable, "-X", "importtime", "-m", "unbrick", "playbook", "list"]
    with subprocess.Popen(told, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if line.endswith("click._compat\n"):  # one of the first of many modules
                break
        process.send_signal(signal.SIGINT)
        said = [line for line in process.stderr if not line.startswith("import time:")]
    assert (process.returncode, said[-1]) == (130, _STOPPED)
    assert "Traceback" not in "".join(said)


def test_two_at_once_do_not_work_on_the_same_disk(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    arguments = ("repair", disk.image, "--keys", disk.keys, "--yes", "--json")
    both = [start_program(*arguments), start_program(*arguments)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert sum('"status": "repaired"' in one for one in said) == 1
    assert sum('"reason": "disk-in-use"' in one or '"status": "healthy"' in one for one in said) == 1
    _ends_well(disk)
