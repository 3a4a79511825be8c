"""No core dump, and nobody but root at a process's memory; there, only the passwords that are wanted."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from support.drilled import Drills
from support.process_tree import core_limits, memory_of, tree_of
from support.program import at_terminal
from support.recovery_passwords import make_guid, make_password

NOBODY = 65534
DECOYS = 400


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of a user who is not root."""
    folder = Path(tempfile.mkdtemp(prefix="unbrick-nobody-"))
    os.chown(folder, NOBODY, NOBODY)
    yield folder
    shutil.rmtree(folder)


def start(folder: Path, *arguments: str | Path, user: int | None = None) -> subprocess.Popen[bytes]:
    """The program in a folder where a core dump of any size may be left."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    return subprocess.Popen(
        [sys.executable, "-m", "unbrick", *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=folder,
        user=user,
        group=user,
        extra_groups=[] if user else None,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, unlimited),
    )


def new_tally(folder: Path, user: int | None) -> Path:
    with start(folder, "tally", "init", folder / "tally", user=user) as made:
        assert made.wait(60) == 0, made.communicate()
    return folder / "tally"


def wait_for(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdout
    while text not in (line := process.stdout.readline()):
        assert line, "it ended early"


def fell(process: subprocess.Popen[bytes], number: signal.Signals) -> bool:
    """Whether the kernel wrote a core dump, wherever it is told to, when a signal ended the process."""
    process.send_signal(number)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -number
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    return os.WCOREDUMP(status)


@pytest.mark.parametrize(("number", "user"), [(signal.SIGABRT, None), (signal.SIGQUIT, NOBODY)])
def test_a_server_that_falls_leaves_no_core_dump(
    nobodys: Path, number: signal.Signals, user: int | None
) -> None:
    tally = new_tally(nobodys, user)
    with start(nobodys, "tally", "serve", tally, "--port", "0", user=user) as server:
        wait_for(server, b"listening")
        assert not fell(server, number)
    assert [path.name for path in nobodys.iterdir()] == ["tally"]


def test_its_own_user_may_not_look_into_a_server(nobodys: Path) -> None:
    tally = new_tally(nobodys, NOBODY)
    with start(nobodys, "tally", "serve", tally, "--port", "0", user=NOBODY) as server:
        try:
            wait_for(server, b"listening")
            as_nobody = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
            core = nobodys / "core"
            for argv in (
                ["gcore", "-o", str(core), str(server.pid)],
                ["head", "-c1", f"/proc/{server.pid}/mem"],
                ["ls", f"/proc/{server.pid}/fd/"],
                ["cat", f"/proc/{server.pid}/environ"],
            ):
                asked = subprocess.run([*as_nobody, *argv], capture_output=True, check=False, timeout=60)
                assert asked.returncode != 0, argv
            assert [path.name for path in nobodys.iterdir()] == ["tally"]
        finally:
            server.terminate()
    assert server.returncode == 0


def test_a_repair_holds_no_password_but_the_one_that_is_wanted(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    (wanted,) = disk.passwords().values()
    decoys = [make_password(seed) for seed in range(1000, 1000 + DECOYS)]
    with disk.keys.open("a") as stream:
        stream.writelines(f"{make_guid(seed)},{one}\n" for seed, one in enumerate(decoys, 5000))
    place = tmp_path / "place"
    place.mkdir()
    with at_terminal("repair", disk.image, "--keys", disk.keys, cwd=place) as person:
        person.wait_for("Go ahead?")
        processes = tree_of(person.process)
        programs = {Path(f"/proc/{one}/comm").read_text().strip() for one in processes}
        assert len(processes) > 3
        assert any(name.startswith("dislocker") or name == "ntfs-3g" for name in programs), programs
        for one in processes:
            assert core_limits(one) == ("0", "0")
            memory = memory_of(one)
            assert len(memory) > 100_000
            held = [number for number, decoy in enumerate(decoys) if decoy.encode() in memory]
            assert held == []
            bare = [
                number for number, decoy in enumerate(decoys) if decoy.replace("-", "").encode() in memory
            ]
            assert bare == []
        ours = [memory_of(one).count(wanted.encode()) for one in processes]
        assert sum(ours) > 0
        assert max(ours) <= 2
        person.send(signal.SIGABRT)
        with suppress(AssertionError):
            person.end()
    assert list(place.iterdir()) == []
