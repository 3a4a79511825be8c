"""Runs a piece of reading in a child process with limits, because it hands hostile data to C code.

A crash, an endless loop or a hunger for memory ends the child; what comes back is JSON, never objects.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import select
import signal
import time
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from unbrick.errors import UnbrickError
from unbrick.processes.core_dumps import forbid_core_dumps
from unbrick.processes.libc import signal_at_parents_death

ANSWER_LIMIT = 32 * 1024 * 1024
"""Bytes of JSON that a child may answer with."""

MEMORY_LIMIT = 1024 * 1024 * 1024
"""Bytes of private memory that a child may have."""


class ReaderEndedError(UnbrickError):
    """The child crashed, ran out of its time or memory, or answered with nonsense.

    Where it raised an error of ours, that one's message, hint and reason.
    """


def _limit_this_process(seconds: float) -> None:
    """Take from a child what it must not have: our handlers, our output, endless time and memory."""
    signal_at_parents_death()
    faulthandler.disable()  # a crash in here is an answer, and wants no report
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):  # the C library says its last words on a crash there
        os.dup2(nowhere, descriptor)
    forbid_core_dumps()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
    cpu = int(seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):
        signal.signal(number, signal.SIG_DFL)


def _be_the_child(work: Callable[[], Any], pipe: int, seconds: float) -> NoReturn:
    """Do the work, answer, and end without unwinding into the parent's code."""
    answer: dict[str, Any] = {}
    try:
        _limit_this_process(seconds)
        try:
            answer = {"result": work()}
        except UnbrickError as error:
            answer = {"error": error.message, "hint": error.hint, "reason": error.reason}
        except MemoryError:
            answer = {"error": "it needs more memory than reading it may take"}
        data = json.dumps(answer).encode()
        with os.fdopen(pipe, "wb") as stream:
            stream.write(data)
    finally:
        os._exit(0 if answer else 1)


def _read_answer(pipe: int, deadline: float) -> bytes:
    chunks: list[bytes] = []
    total = 0
    while (left := deadline - time.monotonic()) > 0 and total <= ANSWER_LIMIT:
        if not select.select([pipe], [], [], left)[0]:
            break
        chunk = os.read(pipe, 1 << 20)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        total += len(chunk)
    raise ReaderEndedError("it could not be read within the limits of time and size")


def run_bounded(work: Callable[[], Any], *, seconds: float) -> Any:
    """What `work()` returns, computed in a child process; must be plain JSON.

    Raises ReaderEndedError where the child raises an UnbrickError (with what that says), crashes, or takes
    more than `seconds` or MEMORY_LIMIT.
    """
    ours, theirs = os.pipe()
    with warnings.catch_warnings():
        # The child runs nothing but `work` and leaves by _exit: another thread's locks do not matter to it.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        os.close(ours)
        _be_the_child(work, theirs, seconds)
    os.close(theirs)
    status: int | None = None
    try:
        data = _read_answer(ours, time.monotonic() + seconds)
        status = os.waitpid(child, 0)[1]
    finally:
        os.close(ours)
        if status is None:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return _unpack(data, status)


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
