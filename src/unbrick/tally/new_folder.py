"""A folder that is filled whole or not at all: a key that nobody knows of must not stay behind.

A kill or a power cut leaves it half filled, with a file in it that says so; the next try empties it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unbrick.errors import FailedError, Reason, UsageError
from unbrick.files import sync_directory

UNFINISHED = ".unbrick-unfinished"
_UNFINISHED_TEXT = b"unbrick was stopped while it filled this folder; the next try empties it first\n"


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """An empty folder, made where it is missing; where the block fails, everything in it goes again.

    Raises UsageError where it holds anything but what a killed try left, FailedError where something in it
    cannot be written.
    """
    made = not path.exists()
    try:
        lock = _make(path)
    except BaseException:
        if made:
            with suppress(OSError):
                path.rmdir()
        raise
    try:
        with errors_named(path):
            yield
            sync_directory(path)
            (path / UNFINISHED).unlink()
            sync_directory(path)
    except BaseException:
        _empty(path)
        if made:
            with suppress(OSError):
                path.rmdir()
        raise
    finally:
        os.close(lock)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Say of which folder an OSError is."""
    try:
        yield
    except OSError as error:
        reason = Reason.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise FailedError(f"cannot write in {path}: {error.strerror or error}", reason=reason) from error


def _make(path: Path) -> int:
    """Make it, or take it where it is empty; gives the lock that says that somebody fills it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _take(path)
        path.chmod(0o700)
        sync_directory(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path} is no folder", hint="name a new or empty folder") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {os.strerror(error.errno or 0)}") from error
    return lock


def _take(path: Path) -> int:
    left = {entry.name for entry in path.iterdir()}
    if left and UNFINISHED not in left:
        raise UsageError(f"{path} is not empty", hint="name a new or empty folder")
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | (0 if left else os.O_CREAT | os.O_EXCL)
    try:
        lock = os.open(path / UNFINISHED, flags, 0o600)
    except FileExistsError:
        raise _in_use(path) from None
    try:
        _lock(lock, path)
        if left:
            _empty(path, UNFINISHED)
        with suppress(OSError):  # for a person who finds it; its name is enough for us
            os.write(lock, _UNFINISHED_TEXT)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _lock(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(path) from None
    except OSError:
        return  # a file system without locks


def _in_use(path: Path) -> UsageError:
    return UsageError(f"{path} is being filled by another unbrick", hint="wait, or name another folder")


def _empty(path: Path, but: str = "") -> None:
    with suppress(OSError):
        for entry in list(path.iterdir()):
            if entry.name == but:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
