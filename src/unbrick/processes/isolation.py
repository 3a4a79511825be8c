"""Works on one disk in a mount and process namespace of its own, which dies with us however we end.

Two forks: the keeper makes the namespaces and passes signals on; the worker is process 1 of the new process
namespace, so that its end, even by kill -9, makes the kernel end every helper and drop every mount. It is a
fork and not `unshare --kill-child` because starting Python again would cost more than the repair.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, TypeVar

from unbrick.errors import FailedError, Reason, UnbrickError
from unbrick.processes.child import Child, answer_signals, answered_signals, hold_signals
from unbrick.processes.libc import (
    CLONE_NEWNS,
    CLONE_NEWPID,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    forbid_core_dumps,
    make_mounts_private,
    mount,
    unshare,
)

T = TypeVar("T")

# Each namespace mounts its own tmpfs here, so the folder stays empty. It must never be removed: that would
# take the mount away from every other run that is using it.
WORK_FOLDER = Path("/run/unbrick")

_GRACE_SECONDS = 20.0

_Message = tuple[str, Any]


def run_isolated(work: Callable[[Path], T]) -> T:
    """Call `work` with a private, empty folder (in memory), in a child in namespaces of its own.

    What `work` returns or raises comes back through a pipe, so both must be picklable. SIGINT, SIGTERM and
    SIGHUP reach the child, which unwinds and cleans up; a second signal, or 20 s, kills it. Raises
    KeyboardInterrupt after SIGINT, SystemExit(128 + number) after the others, FailedError where the child
    died (reason interrupted) or there are no namespaces. The process must have one thread only.
    """
    if os.geteuid() != 0:
        raise FailedError(
            "opening disks and images needs root",
            hint="run it again as root, for instance with sudo",
            reason=Reason.NEEDS_ROOT,
        )
    sys.stdout.flush()
    sys.stderr.flush()
    with hold_signals() as former:
        keeper = Child(partial(_keep, work))
        with _Watch(keeper) as watch:
            signal.pthread_sigmask(signal.SIG_SETMASK, former)
            answer = watch.read_answer()
    if watch.received:
        number = watch.received[0]
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
    result: T = _unpack(answer)
    return result


class _Watch:
    """The parent's side: passes signals on, reads the answer, leaves no zombie."""

    def __init__(self, keeper: Child) -> None:
        self.received: list[signal.Signals] = []
        self._keeper = keeper
        self._deadline: float | None = None
        self._former: dict[int, Any] = {}

    def __enter__(self) -> _Watch:
        # Only the main thread may set handlers; elsewhere signals are not ours to answer.
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._pass_on) for number in answered_signals()}
        return self

    def __exit__(self, *_: object) -> None:
        self._keeper.wait()
        for number, handler in self._former.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)

    def _pass_on(self, number: int, _: FrameType | None) -> None:
        self.received.append(signal.Signals(number))
        self._deadline = time.monotonic() + _GRACE_SECONDS
        if len(self.received) > 1:
            _kill_all(self._keeper.pid)
        else:
            self._keeper.kill(self.received[0])

    def read_answer(self) -> bytes:
        """All that the worker wrote; empty where it died first."""
        parts: list[bytes] = []
        waiting = select.poll()
        with self._keeper.channel as channel:
            waiting.register(channel, select.POLLIN)
            while True:
                # A handler does not end a poll (PEP 475): wake up now and then to see the deadline.
                if waiting.poll(500):
                    part = channel.recv(1 << 20)
                    if not part:
                        return b"".join(parts)
                    parts.append(part)
                elif self._deadline is not None and time.monotonic() > self._deadline:
                    _kill_all(self._keeper.pid)


def _kill(process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, number)


def _kill_all(keeper: int) -> None:
    """Kill keeper, worker and helpers, each by itself.

    The worker's death would take the helpers along, but while it waits in the kernel for one that hangs, it
    does not die.
    """
    found: list[tuple[int, int, int]] = []  # number, parent, process namespace
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                found.append((int(entry.name), parent, (entry / "ns" / "pid").stat().st_ino))
    namespaces = {namespace for _, parent, namespace in found if parent == keeper}
    namespaces.discard(Path("/proc/self/ns/pid").stat().st_ino)
    _kill(keeper, signal.SIGKILL)
    for process, _, namespace in found:
        if namespace in namespaces:
            _kill(process, signal.SIGKILL)


def _unpack(answer: bytes) -> Any:
    if not answer:
        raise FailedError(
            "the process that worked on the disk died before it was done",
            hint="run it again: what was begun is then finished",
            reason=Reason.INTERRUPTED,
        )
    kind, content = pickle.loads(answer)  # noqa: S301 - written by our own fork
    if kind == "result":
        return content
    if kind == "interrupt":
        raise KeyboardInterrupt
    cls, arguments, state, trace = content
    # Not through __init__: an error's arguments are its message, not what its class was called with.
    error = cls.__new__(cls, *arguments)
    error.args = arguments
    error.__dict__.update(state)
    if trace:
        error.add_note(trace)
    raise error


def _keep(work: Callable[[Path], T], answer: socket.socket) -> None:
    """The keeper's life: namespaces, the second fork, signals passed on, the worker waited for."""
    try:
        unshare(CLONE_NEWNS | CLONE_NEWPID)
    except OSError as error:
        _send(answer, _pack_error(_refused(error)))
        return
    worker = Child(lambda _: _work(work, answer))
    answer.close()
    answer_signals(dict.fromkeys(answered_signals(), lambda number, _: worker.kill(signal.Signals(number))))
    worker.wait()


def _work(work: Callable[[Path], T], answer: socket.socket) -> None:
    """The worker's life, as process 1, whose end ends everything in its namespace."""
    forbid_core_dumps()
    message: _Message
    try:
        answer_signals(dict.fromkeys(answered_signals(), _interrupt))
        _make_private()
        message = ("result", work(WORK_FOLDER))
    except KeyboardInterrupt:
        message = ("interrupt", None)
    except BaseException as error:  # noqa: BLE001, RUF100 - carried over to the parent, not swallowed
        message = _pack_error(error)
    _ignore_signals()
    _send(answer, message)
    sys.stdout.flush()
    sys.stderr.flush()


def _interrupt(*_: object) -> NoReturn:
    """Unwind once; a later signal must not interrupt the cleaning up."""
    _ignore_signals()
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    for number in answered_signals():
        # Not SIG_IGN: helpers started while cleaning up would inherit it.
        signal.signal(number, lambda *_: None)


def _make_private() -> None:
    """Cut this namespace's mounts off from the others; give it an empty work folder.

    /proc stays that of the outer namespace: who has a disk open is looked for there.
    """
    try:
        make_mounts_private()
        if not os.path.lexists("/proc/self/fd"):  # no /proc, or that of another namespace
            mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
        WORK_FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        mount("tmpfs", WORK_FOLDER, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700")
        _hide_fuseblk()
    except OSError as error:
        raise _refused(error) from error


def _hide_fuseblk() -> None:
    """Have ntfs-3g mount block devices as plain `fuse`: it takes `fuseblk` where the kernel lists that.

    Unmounting a `fuseblk` waits for an answer of its server. When all of us are killed at once, the last to
    leave the namespace, and so the one that unmounts, can be that server: it then waits for itself for ever,
    holds the disk, and blocks every `sync` on the machine.
    """
    listed = Path("/proc/filesystems").read_text().splitlines()
    kept = [line for line in listed if line.split()[-1:] not in (["fuseblk"], ["fuse"])]
    shown = WORK_FOLDER / "filesystems"
    shown.write_text("\n".join([*kept, "nodev\tfuse"]) + "\n")
    mount(shown, "/proc/filesystems", None, MS_BIND)
    shown.unlink()


def _refused(error: OSError) -> FailedError:
    return FailedError(
        f"this system gives no mount namespace: {error.strerror}",
        hint="run it as root on the machine itself or in a privileged container; "
        "a chroot must be a mount point of its own (mount --bind DIR DIR)",
        reason=Reason.NEEDS_ROOT,
    )


def _pack_error(error: BaseException) -> _Message:
    trace = ""
    if not isinstance(error, UnbrickError):
        import traceback  # not needed where all goes well, and slow to load

        trace = "".join(traceback.format_exception(error))
    return ("error", (type(error), error.args, dict(error.__dict__), trace))


def _send(answer: socket.socket, message: _Message) -> None:
    try:
        data = pickle.dumps(message)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        data = pickle.dumps(_pack_error(RuntimeError(f"what the work gave back cannot be sent: {error}")))
    answer.sendall(data)
