"""A step done in a process of its own that is killed, or whose file operations fail, from a chosen one on.

The files are real. Python's audit hook, which hears of every open, rename, unlink, mkdir and listing before
it happens, does the harm. It does not show a power cut that loses what was not synced.
"""

from __future__ import annotations

import errno
import os
import pickle
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn, TypeVar

_HEARD = {"open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "os.scandir"}

Result = TypeVar("Result")


class Harm(Enum):
    """What becomes of the operations from the chosen one on."""

    NONE = "all is well"
    KILLED = "the process is killed"
    PULLED = "all of them fail with an I/O error"
    FULL = "what needs room finds none"
    READ_ONLY = "what changes anything is refused"


@dataclass(frozen=True)
class Fate:
    """Harm after so many file operations; `do` is told in which folder."""

    harm: Harm = Harm.NONE
    after: int = 0


def do(step: Callable[[], Result], fate: Fate, where: Path) -> Result | None:
    """What the step returned; None where it was killed. What it raises fails the test."""
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reading)
        _live(step, fate, where, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        said = stream.read()
    os.waitpid(process, 0)
    if not said:
        assert fate.harm is Harm.KILLED, "the process died by itself"
        return None
    result, trouble = pickle.loads(said)
    assert not trouble, trouble
    found: Result = result
    return found


def _live(step: Callable[[], Any], fate: Fate, where: Path, writing: int) -> NoReturn:
    try:
        sys.addaudithook(_harm(fate, f"{where}/"))
        try:
            said = pickle.dumps((step(), ""))
        except BaseException as error:
            said = pickle.dumps((None, f"{type(error).__name__}: {error}"))
        with os.fdopen(writing, "wb") as stream:
            stream.write(said)
    finally:
        os._exit(0)


def _harm(fate: Fate, inside: str) -> Callable[[str, tuple[Any, ...]], None]:
    count = 0

    def heed(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in _HEARD or isinstance(arguments[0], int):
            return
        if not f"{os.fsdecode(arguments[0])}/".startswith(inside):
            return
        count += 1
        if count > fate.after:
            _strike(fate.harm, event, arguments)

    return heed


def _strike(harm: Harm, event: str, arguments: tuple[Any, ...]) -> None:
    opens_to_write = event == "open" and bool((arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    needs_room = opens_to_write or event == "os.mkdir"
    if harm is Harm.KILLED:
        os.kill(os.getpid(), signal.SIGKILL)
    if harm is Harm.PULLED:
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if harm is Harm.FULL and needs_room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if harm is Harm.READ_ONLY and (needs_room or event in ("os.rename", "os.remove")):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))
