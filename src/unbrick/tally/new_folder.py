"""A folder that is filled whole or not at all: a key that nobody knows of must not stay behind.

A kill or a power cut leaves it half filled, with a file in it that says so; the next try takes away what that
try can have made, and nothing where there is anything else: a person may have put it there.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError, Reason, UsageError
from unbrick.files import sync_directory

UNFINISHED = ".unbrick-unfinished"
_UNFINISHED_TEXT = b"unbrick was stopped while it filled this folder; the next try begins anew\n"
_TEMPORARY = re.compile(r"((?:[^/]+/)*)\.([^/]+)\.[0-9a-f]{8}\.new")


@dataclass(frozen=True)
class Contents:
    """What a folder is filled with, as patterns of whole paths in it; those of folders end with a slash.

    What of it a killed try has left is taken over where it is one of those that it `keeps`.
    """

    makes: str
    keeps: str = ""

    def has(self, path: str) -> bool:
        """Whether a try can have made that, or begun to."""
        temporary = _TEMPORARY.fullmatch(path)
        whole = temporary[1] + temporary[2] if temporary else path
        return path == UNFINISHED or re.fullmatch(self.makes, whole) is not None

    def stays(self, path: str) -> bool:
        """Whether the next try takes it over."""
        return re.fullmatch(self.keeps, path) is not None


@contextmanager
def new_folder(path: Path, contents: Contents) -> Iterator[None]:
    """An empty folder, made where it is missing; where the block fails, what it put there goes again.

    Raises UsageError where it holds anything but what a killed try left, FailedError where something in it
    cannot be written.
    """
    made = not path.exists()
    try:
        lock = _make(path, contents)
    except BaseException:
        if made:
            with suppress(OSError):
                path.rmdir()
        raise
    before = set(_paths(path)) - {UNFINISHED}
    try:
        with errors_named(path):
            yield
            sync_directory(path)
            (path / UNFINISHED).unlink()
            sync_directory(path)
    except BaseException:
        _clear(path, [one for one in _paths(path) if contents.has(one) and one not in before])
        with suppress(OSError):
            if set(_paths(path)) == {UNFINISHED}:
                (path / UNFINISHED).unlink()
            if made:
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


def _make(path: Path, contents: Contents) -> int:
    """Make it, or take it where it is empty; gives the lock that says that somebody fills it."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _take(path, contents)
        path.chmod(0o700)
        sync_directory(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path} is no folder", hint="name a new or empty folder") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {os.strerror(error.errno or 0)}") from error
    return lock


def _take(path: Path, contents: Contents) -> int:
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
            _clear_up(path, contents)
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


def _clear_up(path: Path, contents: Contents) -> None:
    """Take away what a killed try left; raises UsageError where a person put something there meanwhile."""
    found = _paths(path)
    foreign = [one for one in found if not contents.has(one)]
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise UsageError(
            f"{path} was left half filled, and holds {foreign[0]}{more} besides: nothing was deleted",
            hint="move that out of the folder, and try again",
        )
    _clear(path, [one for one in found if not contents.stays(one)])


def _paths(path: Path) -> list[str]:
    """All that lies in a folder, what lies in another folder before that one; no link is followed."""
    found = []
    for here, folders, files in os.walk(path, topdown=False):
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        found += [str((Path(here) / name).relative_to(path)) for name in (*files, *links)]
        found += [f"{(Path(here) / name).relative_to(path)}/" for name in folders if name not in links]
    return found


def _clear(path: Path, wanted: list[str]) -> None:
    """Take these away, but for the folders in which something stays."""
    with suppress(OSError):
        for one in wanted:
            if one.endswith("/"):
                with suppress(OSError):
                    (path / one).rmdir()
            elif one != UNFINISHED:
                (path / one).unlink(missing_ok=True)
