"""However it ends, nothing of a worked-on disk is left: no mount, no loop device, no helper process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.artefacts import artefact
from support.ntfs_states import MIB, is_marked_dirty, make_volume

from unbrick.disks.change.views import look
from unbrick.disks.loop_device import attach_loop
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError
from unbrick.processes.command import SystemRunner
from unbrick.processes.isolation import WORK_FOLDER, run_isolated

PROGRAM = Path(__file__).parents[1] / "support" / "isolated_work.py"
LOCKED = "bitlk-aes-xts-128"
PASSWORD = "235818-357951-253979-013365-241120-245575-342914-591910"


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bitlk")
    member = f"bitlk-images/{LOCKED}.img"
    subprocess.run(["tar", "-xJf", artefact("bitlk/bitlk-images.tar.xz"), "-C", folder, member], check=True)
    return folder / member


@dataclass
class Run:
    """A started program, its image, and the process namespace that it made."""

    process: subprocess.Popen[str]
    image: Path
    namespace: int
    keeper: int = 0

    def processes(self) -> dict[int, int]:
        """Of all that live in the process namespace: their number here, and their number in there.

        The dead do not count: the tests' own process adopts them, and buries them only afterwards.
        """
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    is_inside = (entry / "ns" / "pid").stat().st_ino == self.namespace
                    if is_inside and not self.status(int(entry.name), "State").lstrip().startswith("Z"):
                        found[int(entry.name)] = int(self.status(int(entry.name), "NSpid").split()[-1])
                except OSError:
                    continue
        return found

    @staticmethod
    def status(process: int, field: str) -> str:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith(f"{field}:"))

    def worker(self) -> int:
        return next(outside for outside, inside in self.processes().items() if inside == 1)

    def keeper_is_alive(self) -> bool:
        try:
            return os.fsencode(PROGRAM) in Path(f"/proc/{self.keeper}/cmdline").read_bytes()
        except OSError:
            return False

    def loops(self) -> list[str]:
        names = []
        for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
            try:
                if entry.read_text().strip() == str(self.image):
                    names.append(entry.parts[3])
            except OSError:
                continue
        return names

    def check_nothing_is_left(self) -> None:
        """The kernel tears a dead namespace down shortly after its last process."""
        deadline = time.monotonic() + 60
        while (self.processes() or self.loops() or self.keeper_is_alive()) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert self.processes() == {}
        assert not self.keeper_is_alive()
        assert self.loops() == []
        mounts = Path("/proc/self/mountinfo").read_text()
        assert str(WORK_FOLDER) not in mounts
        assert str(self.image.parent) not in mounts
        assert list(WORK_FOLDER.iterdir()) == []


@pytest.fixture
def start(tmp_path: Path, locked: Path) -> Iterator[Callable[..., Run]]:
    """Start the program; it has mounted all when this returns."""
    with contextlib.ExitStack() as stack:

        def start(end: str, *, encrypted: bool = True) -> Run:
            volume = make_volume(tmp_path / "volume")
            image = tmp_path / "disk.img"
            image.write_bytes(bytes(MIB) + volume.read_bytes())
            ready = tmp_path / "ready"
            second = str(locked) if encrypted else "-"
            command = [sys.executable, str(PROGRAM), str(image), second, PASSWORD, str(ready), end]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
            wait_for(process, ready)
            state = json.loads(ready.read_text())
            # Process 1 of its own namespace, with dislocker, qemu-storage-daemon and ntfs-3g; a tmpfs and
            # their mounts.
            inside = 4 if encrypted else 3
            assert (state["pid"], state["processes"], state["mounts"]) == (1, inside, inside)
            run = Run(process, image, state["namespace"])
            worker = run.worker()
            # Held open, so that no other process namespace gets the same number meanwhile.
            stack.enter_context(Path(f"/proc/{worker}/ns/pid").open("rb"))
            run.keeper = int(run.status(worker, "PPid"))
            assert len(run.processes()) == inside
            assert run.keeper_is_alive()
            assert len(run.loops()) == 1
            ready.with_suffix(".go").touch()
            return run

        yield start


def wait_for(process: subprocess.Popen[str], ready: Path) -> None:
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)


def written(image: Path, tmp_path: Path) -> str:
    """What the worker wrote, as it lies on the image."""
    with attach_loop(image, offset=MIB, length=image.stat().st_size - MIB) as loop:
        plain = PlainVolume(loop, image.stat().st_size - MIB, os.sync)
        with look(plain, SystemRunner(), tmp_path) as view:
            return (view.root / "written").read_text()


def dirty(image: Path, tmp_path: Path) -> bool:
    volume = tmp_path / "copy"
    volume.write_bytes(image.read_bytes()[MIB:])
    return is_marked_dirty(volume)


def test_normal_end(start: Callable[..., Run], tmp_path: Path) -> None:
    run = start("return")
    assert run.process.communicate(timeout=60)[0] == "done\n"
    assert run.process.returncode == 0
    run.check_nothing_is_left()
    assert not dirty(run.image, tmp_path)
    assert written(run.image, tmp_path) == "by the worker"


def test_error(start: Callable[..., Run]) -> None:
    run = start("raise")
    assert run.process.communicate(timeout=60)[0] == "NeedsHandsError: as asked [hibernated]\n"
    assert run.process.returncode == 5
    run.check_nothing_is_left()


def to_parent(number: int) -> Callable[[Run], None]:
    return lambda run: os.kill(run.process.pid, number)


def to_terminal(number: int) -> Callable[[Run], None]:
    """As the terminal does it: to the whole foreground group, the worker included."""
    return lambda run: os.killpg(run.process.pid, number)


@pytest.mark.parametrize(
    ("send", "said", "code"),
    [
        (to_parent(signal.SIGINT), "interrupted\n", 130),
        (to_terminal(signal.SIGINT), "interrupted\n", 130),
        (to_parent(signal.SIGTERM), "", 143),
        (to_terminal(signal.SIGHUP), "", 129),
    ],
    ids=["SIGINT", "Ctrl-C", "SIGTERM", "SIGHUP"],
)
def test_signal_unwinds_and_leaves_the_volume_whole(
    start: Callable[..., Run], tmp_path: Path, send: Callable[[Run], None], said: str, code: int
) -> None:
    run = start("wait")
    send(run)
    assert run.process.communicate(timeout=30)[0] == said
    assert run.process.returncode == code
    run.check_nothing_is_left()
    # It did not complete, so nothing of it is there.
    assert not dirty(run.image, tmp_path)
    with pytest.raises(FileNotFoundError):
        written(run.image, tmp_path)


def the_parent(run: Run) -> list[int]:
    return [run.process.pid]


def the_keeper(run: Run) -> list[int]:
    return [run.keeper]


def the_worker(run: Run) -> list[int]:
    return [run.worker()]


def the_servers(run: Run) -> list[int]:
    return [outside for outside, inside in run.processes().items() if inside > 1]


def all_at_once(run: Run) -> list[int]:
    return [run.process.pid, run.keeper, run.worker(), *the_servers(run)]


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
@pytest.mark.parametrize("victims", [the_parent, the_keeper, the_worker, the_servers, all_at_once])
def test_kill(start: Callable[..., Run], victims: Callable[[Run], list[int]], encrypted: bool) -> None:
    """Also of ntfs-3g alone on a loop device: as the last in its namespace it once waited for itself."""
    run = start("wait", encrypted=encrypted)
    doomed = victims(run)
    for process in doomed:
        with contextlib.suppress(ProcessLookupError):  # the first to die takes others with it
            os.kill(process, signal.SIGKILL)
    if victims is the_servers:
        os.kill(run.process.pid, signal.SIGTERM)
    said = run.process.communicate(timeout=30)[0]
    if victims in (the_keeper, the_worker):
        assert "[interrupted]" in said
        assert run.process.returncode == 1
    run.check_nothing_is_left()


def test_second_signal_does_not_wait_for_the_cleaning_up(start: Callable[..., Run]) -> None:
    run = start("wait")
    servers = [outside for outside, inside in run.processes().items() if inside > 1]
    for server in servers:  # a FUSE server that hangs makes cleaning up hang
        os.kill(server, signal.SIGSTOP)
    os.kill(run.process.pid, signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        run.process.wait(timeout=1)
    os.kill(run.process.pid, signal.SIGINT)
    assert run.process.communicate(timeout=30)[0] == "interrupted\n"
    run.check_nothing_is_left()


def test_work_folder_is_private_and_empty() -> None:
    def work(folder: Path) -> tuple[str, list[Path], int]:
        found = list(folder.iterdir())
        (folder / "secret").write_text("x")
        return str(folder), found, folder.stat().st_mode & 0o777

    for _ in range(2):
        assert run_isolated(work) == (str(WORK_FOLDER), [], 0o700)
    assert list(WORK_FOLDER.iterdir()) == []


def test_large_results_and_foreign_errors_come_back() -> None:
    assert run_isolated(lambda _: b"x" * 5_000_000) == b"x" * 5_000_000
    with pytest.raises(ZeroDivisionError) as caught:
        run_isolated(lambda _: 1 // 0)
    assert "test_processes_isolation" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="cannot be sent"):
        run_isolated(lambda _: lambda: None)


def test_helpers_dump_no_core_with_keys_in_it() -> None:
    import resource

    assert run_isolated(lambda _: resource.getrlimit(resource.RLIMIT_CORE)) == (0, 0)


def test_handlers_of_the_caller_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    run_isolated(lambda _: None)
    after = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert before == after
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_without_namespaces_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unbrick.processes.isolation.CLONE_NEWPID", 1)
    with pytest.raises(FailedError, match="mount namespace") as caught:
        run_isolated(lambda _: None)
    assert "root" in (caught.value.hint or "")
