"""Reads in a child process with limits what hands hostile data to C code.

A crash, an endless loop or too much memory ends the child; what comes back is JSON, never objects.
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import resource
import signal
import socket
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

from unbrick.errors import UnbrickError
from unbrick.processes.child import Child, answer_signals, answered_signals
from unbrick.processes.libc import forbid_core_dumps

ANSWER_LIMIT = 32 * 1024 * 1024  # bytes of JSON
MEMORY_LIMIT = 1024 * 1024 * 1024  # bytes of private memory


class ReaderEndedError(UnbrickError):
    """The child crashed, ran out of its time or memory, or sent nonsense.

    Where it raised an error of ours: with that one's message, hint and reason.
    """


def _limit_this_process(seconds: float) -> None:
    faulthandler.disable()  # a crash in here is an answer, and wants no report
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # the C library writes there when it crashes
        os.dup2(nowhere, descriptor)
    forbid_core_dumps()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    cpu = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    answer_signals(dict.fromkeys((*answered_signals(), signal.SIGALRM), signal.SIG_DFL))


def _answer(work: Callable[[], Any], seconds: float, channel: socket.socket) -> None:
    """The child's life; where it raises, there is no answer."""
    _limit_this_process(seconds)
    answer: dict[str, Any]
    try:
        answer = {"result": work()}
    except UnbrickError as error:
        answer = {"error": error.message, "hint": error.hint, "reason": error.reason}
    except MemoryError:
        answer = {"error": "it needs more memory than reading it may take"}
    channel.sendall(json.dumps(answer).encode())


def _read_answer(channel: socket.socket, seconds: float) -> bytes:
    deadline = time.monotonic() + seconds
    chunks: list[bytes] = []
    total = 0
    with contextlib.suppress(TimeoutError):
        while (left := deadline - time.monotonic()) > 0 and total <= ANSWER_LIMIT:
            channel.settimeout(left)
            chunk = channel.recv(1 << 20)
            if not chunk:
                return b"".join(chunks)
            chunks.append(chunk)
            total += len(chunk)
    raise ReaderEndedError("it could not be read within the limits of time and size")


def run_bounded(work: Callable[[], Any], *, seconds: float) -> Any:
    """What `work()` returns, computed in a child process; must be plain JSON. Raises ReaderEndedError."""
    with warnings.catch_warnings():
        # The child runs nothing but `work` and leaves by _exit: another thread's locks do not matter to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = Child(partial(_answer, work, seconds))
    try:
        return _unpack(_read_answer(child.channel, seconds), child.wait())
    finally:
        child.end()


def _unpack(data: bytes, status: int) -> Any:
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise ReaderEndedError(f"its content made the reader crash ({name})")
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise ReaderEndedError("the reader gave no answer") from error
    if not isinstance(answer, dict):
        raise ReaderEndedError("the reader gave no answer")
    if "result" not in answer:
        raise ReaderEndedError(answer["error"], hint=answer.get("hint"), reason=answer.get("reason"))
    return answer["result"]
