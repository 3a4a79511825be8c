"""A file that has its name only when it is whole; a try that was killed is in the way of no other."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from unbrick.errors import UsageError
from unbrick.files import sync_directory
from unbrick.tally.new_folder import errors_named

_NO_HARD_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


@contextmanager
def new_file(path: Path) -> Iterator[IO[bytes]]:
    """Write a new file, for its owner only; raises UsageError where the name is taken, FailedError.

    Until it is whole it lies beside its place under a hidden name. What a kill left there goes here.
    """
    if os.path.lexists(path):
        raise _taken(path)
    with errors_named(path.parent):
        _clear(path)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as stream:
                _lock(descriptor)
                yield stream
                stream.flush()
                os.fsync(descriptor)
            _name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_directory(path.parent)


def _name(temporary: Path, path: Path) -> None:
    """Give it its name, never over another file: rename(2) alone would overwrite."""
    try:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            temporary.replace(path)
    except FileExistsError:
        raise _taken(path) from None


def _clear(path: Path) -> None:
    """Remove what killed tries left: nobody holds the lock of it."""
    ours = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.part")
    for entry in list(path.parent.iterdir()):
        if ours.fullmatch(entry.name) is None:
            continue
        with suppress(OSError):
            descriptor = os.open(entry, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            try:
                if _lock(descriptor):
                    entry.unlink()
            finally:
                os.close(descriptor)


def _lock(descriptor: int) -> bool:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    return False


def _taken(path: Path) -> UsageError:
    return UsageError(f"{path} is there already", hint="name a new file")
