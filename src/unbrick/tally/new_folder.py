"""A folder that is filled whole or not at all: a key that nobody knows of must not stay behind."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unbrick.errors import FailedError, Reason, UsageError
from unbrick.files import sync_directory


@contextmanager
def new_folder(path: Path) -> Iterator[None]:
    """An empty folder, made where it is missing; where the block fails, everything in it goes again.

    Raises UsageError where it holds anything, FailedError where something in it cannot be written.
    """
    made = not path.exists()
    _make(path)
    try:
        with errors_named(path):
            yield
    except BaseException:
        _empty(path)
        if made:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Say of which folder an OSError is."""
    try:
        yield
    except OSError as error:
        reason = Reason.DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT) else None
        raise FailedError(f"cannot write in {path}: {error.strerror or error}", reason=reason) from error


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise UsageError(f"{path} is not empty", hint="name a new or empty folder")
        path.chmod(0o700)
        sync_directory(path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise UsageError(f"{path} is no folder", hint="name a new or empty folder") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be made: {os.strerror(error.errno or 0)}") from error


def _empty(path: Path) -> None:
    with suppress(OSError):
        for entry in list(path.iterdir()):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            else:
                entry.unlink(missing_ok=True)
