"""Sends the outbox to the tally in a process of its own, so that no network ever delays a repair.

The same session also takes what our other processes ask the tally (`asking.py`). The process is forked
early, from a parent with one thread, and only there paramiko and its threads come to life: later forks of the
parent never see them. It dies with the parent, however that ends; what it had not sent waits in the outbox
for the next run. It writes nothing to the terminal and no Ctrl-C reaches it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import NoReturn

from unbrick.processes.child import Child, answer_signals, set_apart
from unbrick.processes.libc import forbid_core_dumps
from unbrick.report.asking import Asks, Requester
from unbrick.report.outbox import Outbox
from unbrick.report.sender_status import SenderState, SenderStatus, StatusBoard
from unbrick.report.sending_loop import SendingLoop, Session
from unbrick.report.session import TallySession
from unbrick.settings.station_file import Tally

_NUDGE, _FINISH = b"nudge", b"finish "
_LONGEST_ORDER = 64
_GRACE_SECONDS = 3.0


class BackgroundSender:
    """The parent's hold on the sending process; making one starts it.

    The process must have one thread only by then. `status`, `nudge` and `requester` also work in later forks
    of the parent; `finish` and `end` are the parent's.
    """

    def __init__(
        self, station: Tally, outbox_folder: Path, *, connect: Callable[[], Session] | None = None
    ) -> None:
        """Start sending what is in a folder; raises OutboxError where that cannot be read."""
        self._outbox = Outbox(outbox_folder)
        self._board = StatusBoard()
        open_session = connect or partial(TallySession.open, station)
        self._asking, askers = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        life = partial(_live, self._board, self._outbox, open_session, askers)
        try:
            self._child = Child(life, socket.SOCK_SEQPACKET)
        except BaseException:
            self._asking.close()
            raise
        finally:
            askers.close()  # only the sender has it: its end is then seen at once
        self._child.channel.setblocking(False)
        self._asking.setblocking(False)
        self.requester = Requester(self._asking, self._board.read)
        """Asks the tally over the sender's session."""

    def status(self) -> SenderStatus:
        """How the sending goes; never waits."""
        status = self._board.read()
        if status.state not in (SenderState.REFUSED, SenderState.ENDED) and self._child.has_ended():
            why = "the process that sends has ended"
            return replace(status, state=SenderState.ENDED, why=why)
        return status

    def nudge(self) -> None:
        """Tell it that something new waits, so that it goes out without the delay of a poll; never waits."""
        with contextlib.suppress(OSError):
            self._child.channel.send(_NUDGE)

    def finish(self, seconds: float) -> int:
        """Wait until the outbox is empty or the time is up, and end it; how many events still wait.

        Ends at once where the tally refused us. Interrupted (Ctrl-C), it still ends the process.
        """
        deadline = time.monotonic() + seconds
        try:
            with contextlib.suppress(OSError):
                self._child.channel.send(_FINISH + repr(deadline).encode())
            self._child.ends_within(deadline - time.monotonic())
        finally:
            self.end()
        return self._outbox.count()

    def end(self) -> None:
        self._child.end(_GRACE_SECONDS)
        self._asking.close()


class _SocketOrders:
    """What the sending process waits for: an order of the parent, somebody who asks, an answer."""

    def __init__(self, connection: socket.socket, asks: Asks) -> None:
        self._connection, self._asks = connection, asks
        self.finish_by: float | None = None

    def wait(self, seconds: float) -> None:
        poll = select.poll()
        for descriptor in (self._connection.fileno(), *self._asks.descriptors()):
            poll.register(descriptor, select.POLLIN)
        poll.poll(seconds * 1000)
        with contextlib.suppress(BlockingIOError):
            while order := self._connection.recv(_LONGEST_ORDER):
                if order.startswith(_FINISH):
                    self.finish_by = float(order.removeprefix(_FINISH))
            self.finish_by = time.monotonic()  # everyone who could give an order is gone


def _live(
    board: StatusBoard,
    outbox: Outbox,
    connect: Callable[[], Session],
    askers: socket.socket,
    orders: socket.socket,
) -> None:
    def end(why: str) -> None:
        board.write(replace(board.read(), state=SenderState.ENDED, why=why))

    try:
        _settle(orders, askers)
        asks = Asks(askers)
        SendingLoop(outbox, connect, _SocketOrders(orders, asks), board.write, asks).run()
    except SystemExit:
        end("it was told to end")
    except BaseException as error:
        end(f"the process that sends failed ({type(error).__name__})")
        raise


def _settle(orders: socket.socket, askers: socket.socket) -> None:
    """Cut the process off from its parent's terminal, files and signals; it still dies with it."""
    set_apart()
    orders.setblocking(False)
    _let_go_of_files(keep={orders.fileno(), askers.fileno()})
    forbid_core_dumps()
    answer_signals({signal.SIGTERM: _leave})


def _leave(_: int, __: FrameType | None) -> NoReturn:
    # Unwind once: saying goodbye must not be interrupted by a second signal.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise SystemExit


def _let_go_of_files(*, keep: Collection[int]) -> None:
    """Put /dev/null in the place of every inherited file.

    A reader of our parent's output must see its end when the parent ends. The numbers stay taken, so that an
    inherited Python object that still holds one can never write into one of our sockets.
    """
    nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for entry in list(Path("/proc/self/fd").iterdir()):
        number = int(entry.name)
        if number not in (*keep, nothing):
            with contextlib.suppress(OSError):  # the listing's own
                os.dup2(nothing, number, inheritable=False)
