"""A forked process that dies with us, however we end, and that never returns into our code.

A fork and not a program: starting Python again would cost more than most repairs. The two sides share a pair
of sockets: the child's function gets one end, ours is `channel`.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FrameType
from typing import Any, NoReturn

from unbrick.processes.libc import signal_at_parents_death

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_NICENESS = 5
_LOOK_SECONDS = 0.01
_KILL_SECONDS = 3.0


class Child:
    """The parent's hold on it; making one starts it. Raises OSError.

    `life` runs in the child with signals held back, so that no handler of ours runs there: it sets its own by
    `answer_signals`. What it raises is lost. `kind` is that of the sockets.
    """

    def __init__(
        self, life: Callable[[socket.socket], None], kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> None:
        self.channel, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.pid = 0
        self._parent = os.getpid()
        self._status: int | None = None
        try:
            with hold_signals():
                self.pid = os.fork()
                if self.pid == 0:
                    _live(self._parent, self.channel, theirs, life)
        except BaseException:  # no process could be had, or a signal that was held back ends us
            self.end()
            raise
        finally:
            theirs.close()

    def has_ended(self) -> bool:
        """Whether it is gone. Only its parent can know; False in a later fork."""
        if self._status is None and os.getpid() == self._parent:
            self._reap(os.WNOHANG)
        return self._status is not None

    def ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not self.has_ended() and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)
        return self.has_ended()

    def wait(self) -> int:
        """Wait for its end; its status as `os.waitpid` has it, 0 where another call has waited for it."""
        while self._status is None:
            self._reap(0)
        return self._status

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, also from a signal handler."""
        if self.pid and not self.has_ended():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def finish(self, seconds: float) -> bool:
        """Ask it by the end of its channel to finish; whether it did in time. One that hangs is killed."""
        with contextlib.suppress(OSError):
            self.channel.shutdown(socket.SHUT_RDWR)  # later forks of ours hold our end, too
        in_time = self.ends_within(seconds)
        self.kill()
        self.channel.close()
        return in_time

    def end(self, grace: float = 0.0) -> None:
        """SIGTERM where it has seconds of grace, then SIGKILL. Does nothing in a later fork."""
        if os.getpid() != self._parent:
            return
        if grace:
            self.kill(signal.SIGTERM)
            self.ends_within(grace)
        if self.pid:
            self.kill()
            self.ends_within(_KILL_SECONDS)
        self.channel.close()

    def _reap(self, options: int) -> None:
        try:
            ended, status = os.waitpid(self.pid, options)
        except ChildProcessError:  # another call has waited for it, or a handler of ours meanwhile
            ended, status = self.pid, 0
        if ended and self._status is None:
            self._status = status


def _live(
    parent: int, ours: socket.socket, theirs: socket.socket, life: Callable[[socket.socket], None]
) -> NoReturn:
    """The child's whole life: whatever happens ends in `_exit`."""
    try:
        ours.close()
        signal_at_parents_death()
        if not _is_orphan(parent, theirs):
            life(theirs)
    finally:
        os._exit(0)


def _is_orphan(parent: int, channel: socket.socket) -> bool:
    """Whether the parent ended before `signal_at_parents_death` took effect."""
    seen = os.getppid()
    if seen:
        return seen != parent
    # It is outside our process namespace, where it has no number; but only it has its end of the channel.
    poll = select.poll()
    poll.register(channel, 0)
    return bool(poll.poll(0))


@contextlib.contextmanager
def hold_signals() -> Iterator[Collection[int]]:
    """Hold back the signals that ask to end; yields the former mask, which comes back afterwards."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield former
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def answered_signals() -> list[signal.Signals]:
    """The signals that ask to end, without those that our caller has us ignore, as `nohup` does."""
    return [number for number in _ENDING if signal.getsignal(number) != signal.SIG_IGN]


def answer_signals(handlers: Mapping[signal.Signals, Handler]) -> None:
    """In a child: set these handlers, and let in the signals that were held back since the fork."""
    for number, handler in handlers.items():
        signal.signal(number, handler)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def set_apart() -> None:
    """In a child: no Ctrl-C reaches it, and the repair comes first."""
    os.setsid()
    os.nice(_NICENESS)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
