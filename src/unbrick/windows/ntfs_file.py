"""What NTFS keeps about a file beside its bytes, as ntfs-3g shows it: attributes, times, ACL, streams.

Reads and sets the `system.ntfs_*` extended attributes of a mounted volume. Their names and byte orders are
ntfs-3g's (its "extended attributes" manual); FILETIME and the attribute bits are [MS-FSCC] 2.1.1 and 2.6. All
functions that take a path raise OSError.
"""

from __future__ import annotations

import errno
import os
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import IntFlag
from pathlib import Path

from unbrick.processes import libc

_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)


class FileAttributes(IntFlag):
    """The attribute bits of [MS-FSCC] 2.6 that are used here."""

    READONLY = 0x1
    HIDDEN = 0x2
    SYSTEM = 0x4
    DIRECTORY = 0x10
    ARCHIVE = 0x20
    SPARSE = 0x200
    REPARSE_POINT = 0x400
    COMPRESSED = 0x800
    OFFLINE = 0x1000
    ENCRYPTED = 0x4000
    RECALL_ON_OPEN = 0x40000
    RECALL_ON_DATA_ACCESS = 0x400000


@dataclass(frozen=True)
class NtfsTimes:
    """Four FILETIMEs: 100 ns ticks since 1601-01-01 UTC. `changed` (of the MFT record) can only be read."""

    created: int
    modified: int
    accessed: int
    changed: int


def filetime_to_datetime(ticks: int) -> datetime | None:
    """UTC, to the microsecond; None outside the years that Python knows."""
    try:
        return _EPOCH + timedelta(microseconds=ticks // 10)
    except OverflowError:
        return None


def datetime_to_filetime(moment: datetime) -> int:
    """An aware time as 100 ns ticks since 1601."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 10


def read_xattr(path: Path, name: str) -> bytes | None:
    """One extended attribute, links not followed; None where it is absent."""
    try:
        return libc.read_xattr(path, name)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return None
        raise


def read_attributes(path: Path) -> FileAttributes:
    raw = read_xattr(path, "system.ntfs_attrib")
    return FileAttributes(struct.unpack("<I", raw[:4])[0] if raw and len(raw) >= 4 else 0)


def write_attributes(path: Path, attributes: FileAttributes) -> None:
    os.setxattr(path, "system.ntfs_attrib", struct.pack("<I", attributes), follow_symlinks=False)


def read_times(path: Path) -> NtfsTimes:
    raw = read_xattr(path, "system.ntfs_times")
    if raw is None or len(raw) < 32:
        raise OSError(errno.ENODATA, "no NTFS times here", str(path))
    return NtfsTimes(*struct.unpack("<4Q", raw[:32]))


def write_times(path: Path, times: NtfsTimes) -> None:
    """Set created, modified and accessed; the change time follows the clock."""
    raw = struct.pack("<3Q", times.created, times.modified, times.accessed)
    os.setxattr(path, "system.ntfs_times", raw, follow_symlinks=False)


def read_short_name(path: Path) -> str | None:
    raw = read_xattr(path, "system.ntfs_dos_name")
    return raw.decode(errors="replace") if raw else None


def write_short_name(path: Path, name: str) -> None:
    """Set the 8.3 name; EEXIST where another file of the folder has it."""
    os.setxattr(path, "system.ntfs_dos_name", name.encode(), follow_symlinks=False)


def read_acl(path: Path) -> bytes:
    """The security descriptor, self-relative ([MS-DTYP] 2.4.6)."""
    return read_xattr(path, "system.ntfs_acl") or b""


def write_acl(path: Path, descriptor: bytes) -> None:
    os.setxattr(path, "system.ntfs_acl", descriptor, follow_symlinks=False)


def read_reparse_tag(path: Path) -> int | None:
    """The reparse tag ([MS-FSCC] 2.1.2.1); None for a plain file or folder."""
    raw = read_xattr(path, "system.ntfs_reparse_data")
    return struct.unpack("<I", raw[:4])[0] if raw and len(raw) >= 4 else None


def list_streams(path: Path) -> tuple[str, ...]:
    """Alternate data streams by name (mounted with `streams_interface=xattr`)."""
    return tuple(
        name.removeprefix("user.")
        for name in os.listxattr(path, follow_symlinks=False)
        if name.startswith("user.")
    )
