"""Whether there is room for what a repair writes: on the file system below an image, and in memory.

A lack of either shows as read and write errors of the disk, which do not name what is full. A file system
without any block (one in user space that does not state its size) is not full.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason

_WANTED = 4 * 1024 * 1024  # for an image that grows as it is written; a repair writes some hundred KiB
_NOTHING = 64 * 1024


def has_holes(path: Path) -> bool:
    """Whether a file takes less room than its size, so that it grows as it is written."""
    facts = path.stat()
    return facts.st_blocks * 512 < facts.st_size


def refuse_without_room(growing: Iterable[Path]) -> None:
    """Raise NeedsHandsError (disk-full) where files will grow and their file system is full."""
    for path in growing:
        facts = os.statvfs(path)
        free = facts.f_bfree * facts.f_frsize
        if free < _WANTED and facts.f_blocks:
            raise NeedsHandsError(
                f"the file system {_mount_point(path)} is full ({free // 1024} KiB are free), "
                f"and the image {path} grows when it is written",
                hint=f"make at least {_WANTED // 1024 // 1024} MiB of room there, then try again",
                reason=Reason.DISK_FULL,
            )


def find_full(files: Iterable[Path], workdir: Path) -> FailedError | None:
    """The error for what is full now: a file system below an image, or the memory that copies are kept in."""
    for path in files:
        if _is_full(path):
            return FailedError(
                f"the file system {_mount_point(path)} is full, where the image {path} lies",
                hint="make room there, then run the same command again: it finishes what was begun",
                reason=Reason.DISK_FULL,
            )
    if _is_full(workdir):
        return FailedError(
            "the memory of this computer is full (copies of what is changed are kept there)",
            hint="end other programs, or work on a computer with more memory; then run it again",
            reason=Reason.DISK_FULL,
        )
    return None


def _is_full(path: Path) -> bool:
    facts = os.statvfs(path)
    return facts.f_bavail * facts.f_frsize < _NOTHING and facts.f_blocks > 0


def _mount_point(path: Path) -> Path:
    folder = path.parent
    while folder != folder.parent and folder.stat().st_dev == folder.parent.stat().st_dev:
        folder = folder.parent
    return folder
