"""Writing that a power cut cannot tear, reading files of unknown kind and size, and finding a Windows path.

`find_inside` ignores case, as Windows does, and never follows a symlink or junction; ntfs-3g shows every
reparse point that it does not know as a symlink.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from unbrick.errors import FailedError, Reason, UsageError

_FORBIDDEN = set('<>:"|?*\0/')


class PathError(FailedError):
    """A Windows path that leaves its root, or that no Windows could hold."""

    def __init__(self, message: str) -> None:
        super().__init__(message, reason=Reason.UNREADABLE_FILE)


class NoPlainFileError(OSError):
    """A link, a folder, a pipe or a device in the place of a file; `kind` is its `stat.S_IFMT`."""

    def __init__(self, kind: int) -> None:
        super().__init__(errno.EINVAL, "it is a link" if kind == stat.S_IFLNK else "it is not a file")
        self.kind = kind


class TooLargeError(OSError):
    """A file is larger than its kind may be."""

    def __init__(self) -> None:
        super().__init__(errno.EFBIG, "it is too large")


def open_plain(path: Path | str, *, folder: int | None = None, follow: bool = False) -> IO[bytes]:
    """Open a regular file, or with `follow` a link to one; `path` may be relative to an open `folder`.

    Never waits for a pipe or opens a device. Raises NoPlainFileError, OSError.
    """
    # Looked at before it is opened, because opening a device may act, and again after: it may be swapped.
    kind = stat.S_IFMT(os.stat(path, dir_fd=folder, follow_symlinks=follow).st_mode)
    if kind != stat.S_IFREG:
        raise NoPlainFileError(kind)
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NoPlainFileError(stat.S_IFLNK) from error
        raise
    stream = os.fdopen(descriptor, "rb")
    kind = stat.S_IFMT(os.fstat(descriptor).st_mode)
    if kind != stat.S_IFREG:
        stream.close()
        raise NoPlainFileError(kind)
    return stream


def read_plain(path: Path | str, most: int, *, folder: int | None = None, follow: bool = False) -> bytes:
    """A whole file of at most `most` bytes; raises TooLargeError, and what `open_plain` raises."""
    with open_plain(path, folder=folder, follow=follow) as stream:
        data = stream.read(most + 1)
    if len(data) > most:
        raise TooLargeError
    return data


def is_disk_full(error: OSError) -> bool:
    """Whether the disk, or a user's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def sync_directory(path: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def atomic_write(path: Path, data: bytes, *, mode: int = 0o600, owner: tuple[int, int] | None = None) -> None:
    """Write a file whole or not at all: temporary beside it, synced, renamed, folder synced.

    `owner` is the user and group of the file, where that is not who writes.
    """
    # Random, not a process id: a power cut leaves one, and a medium that boots again has the same ids.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            if owner is not None:
                os.fchown(descriptor, *owner)
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def read_small_file(path: Path, most_bytes: int = 64 * 1024, *, hint: str | None = None) -> bytes:
    """A file that a person named, or a link to one; raises UsageError."""
    try:
        return read_plain(path, most_bytes, follow=True)
    except (NoPlainFileError, TooLargeError) as error:
        most = f"must be a file of at most {most_bytes // 1024} KiB"
        raise UsageError(f"{path}: {most}", hint=hint) from error
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        said = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{path}: cannot be read: {said}", hint=hint) from error


def folder_owner(folder: Path) -> tuple[int, int] | None:
    """The owner that a new file should have where root works in another's folder; else None."""
    if os.geteuid() != 0:
        return None
    found = folder.stat()
    return None if found.st_uid == 0 else (found.st_uid, found.st_gid)


def open_for_owner(path: Path, flags: int) -> int:
    """Open a file, or create it readable by the folder's owner only; raises OSError."""
    flags |= os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return os.open(path, flags)
    owner = folder_owner(path.parent)
    if owner is not None:
        os.fchown(descriptor, *owner)
    return descriptor


@contextmanager
def opened_for_owner(path: Path, flags: int) -> Iterator[int]:
    """`open_for_owner` while the block lasts; a lock on the descriptor ends with it, and with the process."""
    descriptor = open_for_owner(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def split_windows_path(path: str) -> tuple[str, ...]:
    """The components of a path from the volume's root (`\\Windows\\System32`); slashes lean either way.

    Raises PathError for drive letters, `..`, streams, wildcards and whatever else is no plain path.
    """
    parts = tuple(part for part in path.replace("/", "\\").split("\\") if part)
    for part in parts:
        if (
            part in {".", ".."}
            or any(c in _FORBIDDEN or ord(c) < 32 for c in part)
            or part != part.rstrip(". ")
        ):
            raise PathError(f"not a path inside the volume: {path!r}")
    return parts


def find_entry(folder: Path, name: str) -> Path | None:
    """The entry of a folder with that name, exact case first, then any case; None where there is none.

    Raises PathError where two entries differ by case only and neither is exact: which one Windows would
    open cannot be known. Raises OSError where the folder cannot be read.
    """
    exact = folder / name
    try:
        exact.lstat()
        return exact
    except OSError:
        pass
    wanted = name.casefold()
    try:
        same = [entry for entry in folder.iterdir() if entry.name.casefold() == wanted]
    except (FileNotFoundError, NotADirectoryError):
        return None
    if len(same) > 1:
        raise PathError(f"{name}: several names in {folder.name or 'the root'} differ by case only")
    return same[0] if same else None


def find_inside(root: Path, windows_path: str) -> Path | None:
    """The real path of a Windows path below `root`, or None when any part of it is missing.

    Raises PathError where a part is a symlink or junction, or its name is not clear; OSError where a folder
    on the way cannot be read.
    """
    current = root
    parts = split_windows_path(windows_path)
    for index, part in enumerate(parts):
        found = find_entry(current, part)
        if found is None:
            return None
        mode = found.lstat().st_mode
        if stat.S_ISLNK(mode):
            raise PathError(f"{windows_path}: {part} is a link, and links are not followed")
        if index < len(parts) - 1 and not stat.S_ISDIR(mode):
            return None
        current = found
    return current


def is_inside(root: Path, windows_path: str) -> bool:
    """Whether anything has that path below `root`, be it a link, a reparse point or one of two spellings.

    Raises PathError and OSError as `find_inside` does, for the folders on the way only.
    """
    parts = split_windows_path(windows_path)
    folder = find_inside(root, "\\".join(parts[:-1]))
    try:
        return folder is not None and bool(parts) and find_entry(folder, parts[-1]) is not None
    except PathError:
        return True


def windows_path_of(root: Path, path: Path) -> str:
    """The Windows path, from the volume's root, of something found below `root`."""
    return "\\" + "\\".join(path.relative_to(root).parts)
