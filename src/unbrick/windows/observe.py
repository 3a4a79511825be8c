"""Reads one file of a mounted volume for a playbook to judge, or says why its bytes cannot be trusted.

Never follows a link, never changes an access time. Reparse tags: [MS-FSCC] 2.1.2.1; attributes: 2.6.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import PathError, find_entry, find_inside, split_windows_path
from unbrick.model import ObservedFile
from unbrick.windows.ntfs_file import (
    FileAttributes,
    filetime_to_datetime,
    read_attributes,
    read_reparse_tag,
    read_times,
)

SIZE_LIMIT = 64 * 1024 * 1024
"""Bytes. No file that a playbook judges is larger, and a hostile volume must not delay the run."""

FIRST_BYTES = 64
EARLIEST = datetime(1990, 1, 1, tzinfo=UTC)
LATEST = datetime(2100, 1, 1, tzinfo=UTC)
"""A modified time outside these two makes no sense and is given as None."""

_CHUNK = 1024 * 1024
_SYMLINK, _JUNCTION, _WOF, _DEDUP = 0xA000000C, 0xA0000003, 0x80000017, 0x80000013
_CLOUD, _CLOUD_MASK = 0x9000001A, 0xFFFF0FFF
_TAG_NAMES = {
    _SYMLINK: "it is a symbolic link",
    _JUNCTION: "it is a junction",
    _WOF: "Windows keeps it compressed elsewhere (WOF)",
    _DEDUP: "Windows keeps its content elsewhere (deduplication)",
    _CLOUD: "it is a cloud file, whose content may not be on this disk",
}
_ELSEWHERE = FileAttributes.OFFLINE | FileAttributes.RECALL_ON_OPEN | FileAttributes.RECALL_ON_DATA_ACCESS


class UnreadableFileError(NeedsHandsError):
    """A file whose bytes cannot be read, or are not the ones that Windows would see."""

    def __init__(self, windows_path: str, why: str) -> None:
        super().__init__(
            f"{windows_path} cannot be judged: {why}",
            reason=Reason.UNREADABLE_FILE,
            hint="look at this file by hand, from Windows' own recovery console",
        )
        self.why = why


def observe_file(root: Path, windows_path: str) -> ObservedFile:
    """Read one file, given by its path from the root of the mounted volume, in any case.

    Raises UnreadableFileError where there is none, where it is a folder, a link or another reparse point,
    compressed by WOF, a placeholder, encrypted, larger than SIZE_LIMIT, or where reading it fails.
    """
    try:
        path = _locate(root, windows_path)
        _refuse_special(path, windows_path)
        descriptor = _open_quietly(path)
        with os.fdopen(descriptor, "rb", buffering=0):
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableFileError(windows_path, "it is not a file")
            if status.st_size > SIZE_LIMIT:
                raise UnreadableFileError(windows_path, f"it is larger than {SIZE_LIMIT >> 20} MiB")
            first, sha256, all_zero, size = _digest(descriptor)
            if size != status.st_size:
                raise UnreadableFileError(
                    windows_path, f"only {size} of its {status.st_size} bytes are there"
                )
        return ObservedFile(
            path="\\" + "\\".join(path.relative_to(root).parts),
            size=size,
            first_bytes=first,
            all_zero=all_zero,
            sha256=sha256,
            modified=_modified(path, status.st_mtime_ns),
        )
    except PathError as error:
        raise UnreadableFileError(windows_path, error.message) from error
    except OSError as error:
        raise UnreadableFileError(windows_path, error.strerror or "reading it fails") from error


def _locate(root: Path, windows_path: str) -> Path:
    parts = split_windows_path(windows_path)
    # The last part may be anything, a link too: `_refuse_special` looks at it.
    folder = find_inside(root, "\\".join(parts[:-1]))
    path = find_entry(folder, parts[-1]) if folder and parts else None
    if path is None:
        raise UnreadableFileError(windows_path, "it is not there")
    return path


def _refuse_special(path: Path, windows_path: str) -> None:
    """Raise UnreadableFileError for everything whose bytes are not simply in it."""
    mode = path.lstat().st_mode
    attributes = read_attributes(path)
    if stat.S_ISLNK(mode) or attributes & FileAttributes.REPARSE_POINT:
        raise UnreadableFileError(windows_path, _describe_tag(path))
    if stat.S_ISDIR(mode):
        raise UnreadableFileError(windows_path, "it is a folder")
    if not stat.S_ISREG(mode):
        raise UnreadableFileError(windows_path, "it is not a file")
    if attributes & FileAttributes.ENCRYPTED:
        raise UnreadableFileError(windows_path, "Windows keeps it encrypted (EFS)")
    if attributes & _ELSEWHERE:
        raise UnreadableFileError(windows_path, "its content is not on this disk (offline)")


def _describe_tag(path: Path) -> str:
    try:
        tag = read_reparse_tag(path)
    except OSError:
        tag = None
    if tag is None:
        return "it is a link"
    family = _CLOUD if tag & _CLOUD_MASK == _CLOUD else tag
    return _TAG_NAMES.get(family, f"it is a reparse point of kind 0x{tag:08X}")


def _open_quietly(path: Path) -> int:
    """Open for reading without following a link, blocking, or leaving a new access time."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        return os.open(path, flags | os.O_NOATIME)
    except OSError as error:
        if error.errno != errno.EPERM:  # only a file's owner may ask for O_NOATIME
            raise
        return os.open(path, flags)


def _digest(descriptor: int) -> tuple[bytes, str, bool, int]:
    """First bytes, SHA-256, whether all bytes (and at least one) are zeros, and the size read."""
    digest = hashlib.sha256()
    first = b""
    size = 0
    all_zero = True
    while chunk := os.read(descriptor, _CHUNK):
        first = first or chunk[:FIRST_BYTES]
        digest.update(chunk)
        all_zero = all_zero and not chunk.strip(b"\0")
        size += len(chunk)
        if size > SIZE_LIMIT:
            break
    return first, digest.hexdigest(), all_zero and size > 0, size


def _modified(path: Path, nanoseconds: int) -> datetime | None:
    """When its content was last changed, UTC: NTFS's own time where there is one."""
    try:
        moment = filetime_to_datetime(read_times(path).modified)
    except OSError:
        try:
            moment = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=nanoseconds // 1000)
        except OverflowError:
            moment = None
    return moment if moment is not None and EARLIEST <= moment < LATEST else None
