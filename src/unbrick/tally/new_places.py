"""A new file or folder that is whole or not there, also after a kill or a power cut.

A file gets its name only when it is whole. A folder that is half filled has a file in it that says so; the
next try removes what the killed one can have made, and nothing where there is anything else in it: that may
be a person's. So no key is left behind that nobody knows of.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from unbrick.errors import FailedError, Reason, UsageError
from unbrick.files import is_disk_full, sync_directory

UNFINISHED = ".unbrick-unfinished"
_UNFINISHED_TEXT = b"unbrick was stopped while it filled this folder; the next try begins anew\n"
_TEMPORARY = re.compile(r"((?:[^/]+/)*)\.([^/]+)\.[0-9a-f]{8}\.new")
_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a new file, for its owner only; raises UsageError where the name is taken, FailedError."""
    if os.path.lexists(path):
        raise _taken(path)
    with errors_named(path.parent):
        _remove_unfinished(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                _try_lock(descriptor)
                yield stream
                stream.flush()
                os.fsync(descriptor)
            _name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def _name(temporary: Path, path: Path) -> None:
    try:  # link(2) first: rename(2) would overwrite another file
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            temporary.replace(path)
    except FileExistsError:
        raise _taken(path) from None


def _remove_unfinished(path: Path) -> None:
    """Remove files of killed tries: those without a lock."""
    unfinished = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.part")
    for entry in list(path.parent.iterdir()):
        if unfinished.fullmatch(entry.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _try_lock(descriptor):
                    entry.unlink()
            finally:
                os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _taken(path: Path) -> UsageError:
    return UsageError(f"{path} is there already", hint="name a new file")


@dataclass(frozen=True)
class Contents:
    """What a folder is filled with, as patterns of whole paths in it; those of folders end with a slash.

    What a killed try left and `keeps` matches stays for the next one.
    """

    makes: str
    keeps: str = ""

    def has(self, path: str) -> bool:
        """Whether a try can have made that, or the temporary file for it."""
        temporary = _TEMPORARY.fullmatch(path)
        whole = temporary[1] + temporary[2] if temporary else path
        return path == UNFINISHED or re.fullmatch(self.makes, whole) is not None

    def stays(self, path: str) -> bool:
        return re.fullmatch(self.keeps, path) is not None


@contextmanager
def new_folder(path: Path, contents: Contents) -> Iterator[None]:
    """Make an empty folder, or take one; where the block fails, what it made is removed.

    Raises UsageError where the folder has anything but what a killed try left, FailedError for OSError.
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
    try:
        yield
    except OSError as error:
        reason = Reason.DISK_FULL if is_disk_full(error) else None
        raise FailedError(f"cannot write in {path}: {error.strerror or error}", reason=reason) from error


def _make(path: Path, contents: Contents) -> int:
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
        with suppress(OSError):  # the text is for a person; the name is what counts
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
    """Everything in a folder, the contents of a folder before the folder; no link is followed."""
    found = []
    for here, folders, files in os.walk(path, topdown=False):
        links = [name for name in folders if (Path(here) / name).is_symlink()]
        found += [str((Path(here) / name).relative_to(path)) for name in (*files, *links)]
        found += [f"{(Path(here) / name).relative_to(path)}/" for name in folders if name not in links]
    return found


def _clear(path: Path, wanted: list[str]) -> None:
    with suppress(OSError):
        for one in wanted:
            if one.endswith("/"):
                with suppress(OSError):  # something in it stays
                    (path / one).rmdir()
            elif one != UNFINISHED:
                (path / one).unlink(missing_ok=True)
