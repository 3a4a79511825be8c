"""What of a file outlives its name: bytes, times, rights and streams, read and set through ntfs-3g."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.windows.ntfs_file import (
    FileAttributes,
    NtfsTimes,
    list_streams,
    read_acl,
    read_times,
    write_times,
)

_CHUNK = 1024 * 1024
RESTORABLE = (
    FileAttributes.READONLY
    | FileAttributes.HIDDEN
    | FileAttributes.SYSTEM
    | FileAttributes.ARCHIVE
    | FileAttributes(0x2000 | 0x100)  # not content indexed, temporary
)
"""What a person or a program may set; the others are the file system's own."""


@dataclass(frozen=True)
class Times:
    """Created, modified, accessed: 100 ns ticks since 1601-01-01 UTC."""

    created: int
    modified: int
    accessed: int


def read_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and length of a file's main stream, a link not followed; raises OSError."""
    digest, length = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return digest.hexdigest(), length


def read_three_times(path: Path) -> Times:
    """Created, modified and accessed of a file or folder; raises OSError."""
    times = read_times(path)
    return Times(times.created, times.modified, times.accessed)


def write_three_times(path: Path, times: Times) -> None:
    """Set them where they differ; raises OSError."""
    if read_three_times(path) != times:
        write_times(path, NtfsTimes(times.created, times.modified, times.accessed, changed=0))


def read_acl_digest(path: Path) -> str:
    """SHA-256 of a file's security descriptor; raises OSError."""
    return hashlib.sha256(read_acl(path)).hexdigest()


@contextlib.contextmanager
def despite_unlisted_names(done: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Let pass that ntfs-3g says EIO of any change to a file with a name that no folder lists, yet makes it.

    `done` looks whether it did. What the disk itself has refused, the end of the mount tells.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO or not done():
            raise


def expect_no_new_stream(path: Path, known: Sequence[str]) -> None:
    """That a file or folder in the quarantine has no stream but these; raises NeedsHandsError, OSError."""
    new = sorted(set(list_streams(path)) - set(known))
    if new:
        raise changed_in_quarantine(path, f"has a stream that no run has put there: {new[0]}")


def changed_in_quarantine(path: Path, what: str) -> NeedsHandsError:
    """The error of what somebody has changed since it was moved there."""
    return NeedsHandsError(
        f"{path.name} in the quarantine {what}",
        reason=Reason.QUARANTINE_CHANGED,
        hint="nothing was written; look at \\Unbrick by hand, put that right, and run unbrick again",
    )
