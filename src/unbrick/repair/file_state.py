"""All that a file has beside its name and place: bytes, times, rights, streams, its 8.3 name.

Read and set through ntfs-3g; all here raises OSError.
"""

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
    read_short_name,
    read_times,
    write_short_name,
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

_NEVER_IN_A_SHORT_NAME = str.maketrans(dict.fromkeys('+,;=[]"*/:<>?\\|', "_"))
_HIGHEST_NUMBER = 64


@dataclass(frozen=True)
class Times:
    """Created, modified, accessed: 100 ns ticks since 1601-01-01 UTC."""

    created: int
    modified: int
    accessed: int


def read_digest(path: Path) -> tuple[str, int]:
    """SHA-256 and length of a file's main stream, a link not followed."""
    digest, length = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            length += len(chunk)
    return digest.hexdigest(), length


def read_three_times(path: Path) -> Times:
    times = read_times(path)
    return Times(times.created, times.modified, times.accessed)


def write_three_times(path: Path, times: Times) -> None:
    """Set them where they differ."""
    if read_three_times(path) != times:
        write_times(path, NtfsTimes(times.created, times.modified, times.accessed, changed=0))


def read_acl_digest(path: Path) -> str:
    """SHA-256 of a file's security descriptor."""
    return hashlib.sha256(read_acl(path)).hexdigest()


@contextlib.contextmanager
def despite_unlisted_names(done: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Let pass that ntfs-3g says EIO to any change of a file with a name that no folder lists, yet makes it.

    `done` looks whether it did. What the disk itself has refused, the end of the mount shows.
    """
    try:
        yield
    except OSError as error:
        if error.errno != errno.EIO or not done():
            raise


def expect_no_new_stream(path: Path, known: Sequence[str]) -> None:
    """Raise NeedsHandsError where a file or folder in the quarantine has a stream besides these."""
    new = sorted(set(list_streams(path)) - set(known))
    if new:
        raise changed_in_quarantine(path, f"has a stream that no run has put there: {new[0]}")


def changed_in_quarantine(path: Path, what: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{path.name} in the quarantine {what}",
        reason=Reason.QUARANTINE_CHANGED,
        hint="nothing was written; look at \\Unbrick by hand, put that right, and run unbrick again",
    )


def find_short_name(path: Path) -> str | None:
    """A file's 8.3 name; None where it has none, or one that no guess finds.

    ntfs-3g answers EMLINK for a file that has an 8.3 name and more than one long name. Such a name is found
    by asking for the ones that Windows would have made, and believed where it leads to the same file.
    """
    try:
        return read_short_name(path)
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
    for name in _likely_short_names(path.name):
        with contextlib.suppress(OSError):
            if _leads_to(path.parent / name, path):
                return name
    return None


def give_short_name(path: Path, name: str) -> None:
    """Give a file the 8.3 name that a move dropped, where that is possible.

    Impossible: another file of the folder has taken the name since, or this one has several long names,
    which ntfs-3g refuses. `plan_undo` says so beforehand.
    """
    if _has_short_name(path, name):
        return
    try:
        write_short_name(path, name)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.EMLINK):
            raise


def _has_short_name(path: Path, name: str) -> bool:
    try:
        return read_short_name(path) == name
    except OSError as error:
        if error.errno != errno.EMLINK:
            raise
    return _leads_to(path.parent / name, path)


def _leads_to(name: Path, file: Path) -> bool:
    """Whether a name, listed or not, is one of a file's."""
    try:
        return name.lstat().st_ino == file.lstat().st_ino
    except FileNotFoundError:
        return False


def _likely_short_names(long_name: str) -> Iterator[str]:
    """The names that Windows tries first: six letters, a tilde and a number, in capitals."""
    stem, dot, extension = long_name.upper().rpartition(".")
    if not dot:
        stem, extension = extension, ""
    stem = stem.replace(".", "").replace(" ", "").translate(_NEVER_IN_A_SHORT_NAME)
    extension = extension.replace(" ", "").translate(_NEVER_IN_A_SHORT_NAME)[:3]
    for number in range(1, _HIGHEST_NUMBER + 1):
        tail = f"~{number}"
        yield stem[: 8 - len(tail)][:6] + tail + (f".{extension}" if extension else "")
