"""The file system's own errors as a person needs them: a full disk, a read-only one, a damaged volume."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason

CHECK_THE_VOLUME = (
    "let Windows check the volume (chkdsk /f, from its recovery environment), then run unbrick again"
)


@contextlib.contextmanager
def disk_errors(doing: str, *, was_dirty: bool = False) -> Iterator[None]:
    """Turn OSError into the error that says what a person can do; `doing` completes "… while".

    Raises NeedsHandsError (disk-full, read-only, damaged-volume), FailedError (unreadable-disk).
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NeedsHandsError(
                f"the volume ran full while {doing}",
                reason=Reason.DISK_FULL,
                hint="make room on it, then run unbrick again",
            ) from error
        if error.errno == errno.EROFS:
            raise NeedsHandsError(
                f"the volume turned out to be read-only while {doing}",
                reason=Reason.READ_ONLY,
                hint="lift its write protection; if it has none, it may be failing: copy it first",
            ) from error
        # ntfs-3g says EIO, or dies, where a disk fails and where records contradict each other: the latter is
        # likelier on a volume that was dirty.
        if was_dirty and error.errno in (errno.EIO, errno.ECONNABORTED, errno.ENOTCONN):
            raise damaged(
                f"{error.strerror} while {doing}: the volume contradicts itself, or the disk fails"
            ) from error
        if error.errno in (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENODATA):
            raise damaged(
                f"a folder of the volume contradicts itself ({error.strerror}, while {doing})"
            ) from error
        raise FailedError(
            f"{error.strerror} while {doing}",
            reason=Reason.UNREADABLE_DISK,
            hint="the disk may be failing: copy it before anything else is tried",
        ) from error


def damaged(message: str) -> NeedsHandsError:
    """The file system's own records disagree, which only Windows can put right."""
    return NeedsHandsError(message, reason=Reason.DAMAGED_VOLUME, hint=CHECK_THE_VOLUME)


def look(path: Path) -> os.stat_result | None:
    """Stat what is at a path, links not followed, or None; raises NeedsHandsError (damaged-volume)."""
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise damaged(f"{path.name} is listed but cannot be read: {error.strerror}") from error
