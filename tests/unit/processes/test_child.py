"""The process that is forked: it dies with us, and neither our code nor our signal handlers run in it."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from unbrick.processes.child import Child, answer_signals, set_apart

# The parent ends before its child has told the kernel that it wants to die with it.
BORN_AN_ORPHAN = """
import os, select, sys
from pathlib import Path
from unbrick.processes import child, libc

made = Path(sys.argv[1])
parent = os.pidfd_open(os.getpid())

def wait_until_it_is_alone():
    select.select([parent], [], [])
    (made / "alone").touch()

child.signal_at_parents_death = wait_until_it_is_alone
if sys.argv[2] == "elsewhere":
    libc.unshare(libc.CLONE_NEWPID)
child.Child(lambda _: (made / "lived").touch())
os._exit(0)
"""
KILLED_PARENT = """
import os, sys, time
from unbrick.processes.child import Child, set_apart

def life(channel):
    set_apart()
    os.write(1, b"%d\\n" % os.getpid())
    time.sleep(600)

Child(life)
time.sleep(600)
"""


def wait_for_the_end(channel: socket.socket) -> None:
    channel.recv(1)


def status_of(life: Callable[[socket.socket], None]) -> int:
    child = Child(life)
    status = child.wait()
    child.end()
    return status


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_what_it_raises_does_not_come_back_into_our_code(capfd: pytest.CaptureFixture[str]) -> None:
    def life(_: socket.socket) -> None:
        raise KeyError("surprise")

    assert status_of(life) == 0
    assert capfd.readouterr() == ("", "")


def test_it_finishes_when_its_channel_ends() -> None:
    child = Child(wait_for_the_end)
    assert not child.has_ended()
    assert child.finish(30)
    assert child.has_ended()


def test_one_that_hangs_is_killed() -> None:
    def hang(channel: socket.socket) -> None:
        answer_signals({signal.SIGTERM: signal.SIG_IGN})
        channel.sendall(b"here")
        while True:
            time.sleep(600)

    child = Child(hang)
    child.channel.recv(4)
    child.end(grace=0.05)
    assert os.WTERMSIG(child.wait()) == signal.SIGKILL
    another = Child(hang)
    another.channel.recv(4)
    assert not another.finish(0.05)
    assert os.WTERMSIG(another.wait()) == signal.SIGKILL


def test_our_handlers_do_not_run_in_it_and_no_signal_is_lost() -> None:
    ours = signal.signal(signal.SIGTERM, lambda *_: os._exit(9))

    def life(_: socket.socket) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        answer_signals({signal.SIGTERM: signal.SIG_DFL})

    try:
        assert os.WTERMSIG(status_of(life)) == signal.SIGTERM
    finally:
        signal.signal(signal.SIGTERM, ours)
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()


def test_a_signal_that_came_during_the_fork_ends_us_and_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = os.fork, []

    def fork() -> int:
        made.append(real())
        if made[0]:  # to this thread: another one of the test runner's has the signal not held
            signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        return made[0]

    monkeypatch.setattr(os, "fork", fork)
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            Child(wait_for_the_end)
    finally:
        signal.signal(signal.SIGINT, former)
    assert not is_alive(made[0])


def test_ctrl_c_does_not_reach_one_that_is_set_apart() -> None:
    def life(channel: socket.socket) -> None:
        set_apart()
        answer_signals({})
        os.kill(os.getpid(), signal.SIGINT)
        channel.sendall(str(os.getsid(0)).encode())
        wait_for_the_end(channel)

    child = Child(life)
    assert int(child.channel.recv(20)) == child.pid
    assert child.finish(30)


def test_a_later_fork_of_ours_can_neither_end_it_nor_say_that_it_has_ended() -> None:
    child = Child(wait_for_the_end)

    def later(channel: socket.socket) -> None:
        child.end()
        channel.sendall(b"ended" if child.has_ended() else b"not known")

    fork = Child(later)
    assert fork.channel.recv(20) == b"not known"
    fork.end()
    assert not child.has_ended()
    assert child.finish(30)


def test_one_that_somebody_else_waited_for_has_ended() -> None:
    child = Child(lambda _: None)
    os.waitpid(child.pid, 0)
    assert child.has_ended()
    assert child.wait() == 0
    child.end()


def test_it_dies_with_its_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", KILLED_PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        assert select.select([child], [], [], 30)[0]
        os.close(child)


@pytest.mark.parametrize("namespace", ["ours", "elsewhere"])
def test_one_whose_parent_ended_first_does_nothing(tmp_path: Path, namespace: str) -> None:
    argv = [sys.executable, "-c", BORN_AN_ORPHAN, str(tmp_path), namespace]
    subprocess.run(argv, check=True, stdout=subprocess.PIPE)  # its pipe ends when the child has ended
    assert [path.name for path in tmp_path.iterdir()] == ["alone"]
