"""Reads what must be known of a file before it moves, and puts back what a move changes about it.

Changes no name of a file; `moving.py` and `short_name.py` do.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.repair.journal.record import Entry, Times
from unbrick.repair.short_name import find_short_name
from unbrick.windows.ntfs_file import (
    FileAttributes,
    NtfsTimes,
    list_streams,
    read_acl,
    read_attributes,
    read_times,
    write_attributes,
    write_times,
)

_CHUNK = 1024 * 1024
_RESTORABLE = (
    FileAttributes.READONLY
    | FileAttributes.HIDDEN
    | FileAttributes.SYSTEM
    | FileAttributes.ARCHIVE
    | FileAttributes(0x2000 | 0x100)  # not content indexed, temporary
)


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


def describe(path: Path, source: str, quarantined_as: str, playbook: str) -> Entry:
    """Everything that the journal keeps of a file that is about to move; raises OSError."""
    sha256, size = read_digest(path)
    return Entry(
        source=source,
        quarantined_as=quarantined_as,
        playbook=playbook,
        sha256=sha256,
        size=size,
        attributes=int(read_attributes(path)),
        times=read_three_times(path),
        short_name=find_short_name(path),
        links=path.lstat().st_nlink,
        acl_sha256=read_acl_digest(path),
        streams=tuple(sorted(list_streams(path))),
    )


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


def settle(path: Path, entry: Entry) -> None:
    """Give a file back the attributes and times it had: a new name sets its archive bit. Raises OSError.

    `expect_settled` tells whether it has them.
    """
    attributes = read_attributes(path)
    wanted = attributes & ~_RESTORABLE | FileAttributes(entry.attributes) & _RESTORABLE
    with despite_unlisted_names():
        if wanted != attributes:
            write_attributes(path, wanted)
    with despite_unlisted_names():
        write_three_times(path, entry.times)


def expect_same_file(path: Path, entry: Entry) -> None:
    """That a file's bytes, ACL and streams are those of the journal.

    Raises FailedError (verify-failed), OSError.
    """
    sha256, size = read_digest(path)
    if (sha256, size) != (entry.sha256, entry.size):
        raise _changed(entry, "its bytes")
    if read_acl_digest(path) != entry.acl_sha256:
        raise _changed(entry, "its access control list")
    if tuple(sorted(list_streams(path))) != entry.streams:
        raise _changed(entry, "its streams")


def expect_no_new_stream(path: Path, known: Sequence[str]) -> None:
    """That a file or folder in the quarantine has no stream but these; raises NeedsHandsError, OSError."""
    new = sorted(set(list_streams(path)) - set(known))
    if new:
        raise _changed_in_quarantine(path, f"has a stream that no run has put there: {new[0]}")


def expect_as_it_was_moved(path: Path, entry: Entry) -> None:
    """That streams and rights of a file in the quarantine are those that it was moved with.

    Raises NeedsHandsError (quarantine-changed), OSError.
    """
    expect_no_new_stream(path, entry.streams)
    lost = sorted(set(entry.streams) - set(list_streams(path)))
    if lost:
        raise _changed_in_quarantine(path, f"has lost its stream {lost[0]}")
    if read_acl_digest(path) != entry.acl_sha256:
        raise _changed_in_quarantine(path, "has other access rights than when it was moved there")


def _changed_in_quarantine(path: Path, what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{path.name} in the quarantine {what}",
        reason=Reason.QUARANTINE_CHANGED,
        hint="nothing was written; look at \\Unbrick by hand, put that right, and run unbrick again",
    )


def expect_settled(path: Path, entry: Entry) -> None:
    """That attributes and times are those of the journal; raises FailedError (verify-failed), OSError."""
    if read_three_times(path) != entry.times:
        raise _changed(entry, "its times")
    if (read_attributes(path) ^ FileAttributes(entry.attributes)) & _RESTORABLE:
        raise _changed(entry, "its attributes")


def _changed(entry: Entry, what: str) -> FailedError:
    return FailedError(
        f"{entry.source}: {what} differ from what was recorded before it was moved",
        reason=Reason.VERIFY_FAILED,
    )
