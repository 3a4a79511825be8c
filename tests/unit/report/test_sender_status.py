"""The shared page: the latest status, whole or not at all, also seen from a fork."""

from __future__ import annotations

import mmap
import subprocess
import sys

from unbrick.report.sender_status import SenderState, SenderStatus, StatusBoard

LONG = SenderStatus(SenderState.REFUSED, "\N{SKULL}" * 1000, 10**9, 10**9)


def test_nothing_written_is_connecting() -> None:
    assert StatusBoard().read() == SenderStatus()


def test_the_latest_is_read_whatever_its_length() -> None:
    board = StatusBoard()
    for status in (
        LONG,
        SenderStatus(SenderState.CONNECTED, "", 5, 1),
        SenderStatus(SenderState.BUSY, "its disk is full \x1b[2J"),
    ):
        board.write(status)
        assert board.read() == SenderStatus(
            status.state, status.why[:300], status.acknowledged, status.refused
        )


def test_a_half_written_status_is_never_shown() -> None:
    board = StatusBoard()
    board.write(SenderStatus(SenderState.CONNECTED, "", 5))
    before = board.read()
    page = board._page
    assert isinstance(page, mmap.mmap)
    page[20:30] = b"x" * 10
    assert board.read() == before
    page[0:8] = b"\xff" * 8
    assert board.read() == before


def test_a_fork_writes_and_the_parent_reads() -> None:
    program = """
import os
from unbrick.report.sender_status import *
board = StatusBoard()
child = os.fork()
if child == 0:
    board.write(SenderStatus(SenderState.CONNECTED, "", 7))
    os._exit(0)
os.waitpid(child, 0)
print(board.read().acknowledged)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "7\n"
