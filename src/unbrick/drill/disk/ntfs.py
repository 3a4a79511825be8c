"""A real NTFS volume in a file: made by mkntfs, filled through ntfs-3g.

Writes only to the file and below the mount point it is given, and leaves nothing mounted.
"""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from unbrick.drill.contents.planned import PlannedFile, PlannedJunction
from unbrick.drill.contents.security import SYSTEM_FILES
from unbrick.drill.contents.tree import VolumePlan
from unbrick.errors import FailedError, UnbrickError
from unbrick.processes.command import Runner, Server, wait_until
from unbrick.windows.ntfs_file import (
    FileAttributes,
    NtfsTimes,
    read_attributes,
    write_acl,
    write_attributes,
    write_short_name,
    write_times,
)

_TIMEOUT = 120.0
_MOUNT_OPTIONS = "streams_interface=xattr,noatime,no_detach,big_writes"
_COPY_BYTES = 4 * 1024 * 1024
_MOUNT_POINT_TAG = 0xA0000003
_SERIAL_OFFSET = 0x48


def make_volume(
    image: Path,
    *,
    length: int,
    sector_size: int,
    first_sector: int,
    label: str,
    serial: int,
    runner: Runner,
) -> None:
    """Make the file `image` an empty NTFS volume of `length` bytes that knows it begins at `first_sector`.

    `serial` replaces the one that mkntfs draws, in the boot sector and in its copy at the volume's end.
    """
    with image.open("wb") as stream:
        stream.truncate(length)
    shape = ["-s", str(sector_size), "-p", str(first_sector), "-H", "255", "-S", "63"]
    runner.run(["mkntfs", "-F", "-Q", "-q", *shape, "-L", label, str(image)], timeout=_TIMEOUT)
    with image.open("r+b") as stream:
        for boot_sector in (0, length - sector_size):
            stream.seek(boot_sector + _SERIAL_OFFSET)
            stream.write(struct.pack("<Q", serial))


@contextlib.contextmanager
def mounted(image: Path, at: Path, runner: Runner, *, read_only: bool = False) -> Iterator[Path]:
    """Mount the volume in the file `image` at the folder `at` (made where missing).

    The block ends when ntfs-3g has ended, so that all is in the file. Raises FailedError.
    """
    at.mkdir(parents=True, exist_ok=True)
    options = f"ro,{_MOUNT_OPTIONS}" if read_only else _MOUNT_OPTIONS
    server = runner.start(["ntfs-3g", "-o", options, str(image), str(at)])
    try:
        wait_until(server, lambda: at.is_mount(), timeout=_TIMEOUT, what=f"ntfs-3g on {image.name}")
        yield at
        runner.run(["umount", str(at)], timeout=_TIMEOUT)
        code = server.wait(_TIMEOUT)
    except BaseException:
        _give_up(server, at, runner)
        raise
    if code != 0:
        raise FailedError(f"ntfs-3g ended with exit code {code} while {image.name} was made")


def _give_up(server: Server, at: Path, runner: Runner) -> None:
    """Unmount in any state, without hiding the error that led here."""
    with contextlib.suppress(UnbrickError):
        runner.run(["umount", "-l", str(at)], timeout=_TIMEOUT, ok=None)
    with contextlib.suppress(UnbrickError):
        server.wait(10.0)
    server.stop(10.0)


def _place(root: Path, windows_path: str) -> Path:
    return root.joinpath(*windows_path.split("\\"))


def _write_file(root: Path, file: PlannedFile) -> None:
    path = _place(root, file.path)
    with path.open("xb") as stream:
        stream.write(file.content)
    for name, content in file.streams:
        os.setxattr(path, f"user.{name}", content)
    write_acl(path, file.protection.descriptor(folder=False))
    if file.short_name:
        write_short_name(path, file.short_name)
    for link in file.links:
        os.link(path, _place(root, link))
    if file.attributes:
        write_attributes(path, file.attributes)
    # Last, because everything above would move them.
    write_times(path, file.times)


def _junction_data(target: str) -> bytes:
    """A mount point reparse buffer, [MS-FSCC] 2.1.2.5."""
    substitute = f"\\??\\C:{target}".encode("utf-16-le")
    shown = f"C:{target}".encode("utf-16-le")
    names = substitute + b"\0\0" + shown + b"\0\0"
    lengths = struct.pack("<HHHH", 0, len(substitute), len(substitute) + 2, len(shown))
    return struct.pack("<IHH", _MOUNT_POINT_TAG, len(lengths) + len(names), 0) + lengths + names


def _make_junction(root: Path, junction: PlannedJunction) -> None:
    path = _place(root, junction.path)
    path.mkdir()
    write_acl(path, SYSTEM_FILES.descriptor(folder=True))
    write_attributes(path, read_attributes(path) | FileAttributes.HIDDEN | FileAttributes.SYSTEM)
    write_times(path, junction.times)
    os.setxattr(path, "system.ntfs_reparse_data", _junction_data(junction.target), follow_symlinks=False)


def write_volume(root: Path, plan: VolumePlan) -> tuple[str, ...]:
    """Write a planned tree below `root`, a volume mounted for writing; the faulty files' paths.

    Call `finish_folders` when nothing more is added. Raises OSError.
    """
    faulty = []
    write_acl(root, SYSTEM_FILES.descriptor(folder=True))
    for folder in plan.folders:
        path = _place(root, folder.path)
        path.mkdir()
        write_acl(path, folder.protection.descriptor(folder=True))
        if folder.short_name:
            write_short_name(path, folder.short_name)
    for file in plan.files:
        _write_file(root, file)
        if file.faulty:
            faulty.append(file.path)
    for junction in plan.junctions:
        _make_junction(root, junction)
    return tuple(faulty)


def finish_folders(root: Path, plan: VolumePlan, root_times: NtfsTimes) -> None:
    """Set the folders' own times, deepest first: writing inside one moves them."""
    for folder in reversed(plan.folders):
        write_times(_place(root, folder.path), folder.times)
    write_times(root, root_times)


def copy_sparse(source: Path, target: BinaryIO, offset: int) -> None:
    """Copy a file's data into `target` from `offset` on, leaving its holes out; the place must be zero."""
    with source.open("rb") as stream:
        descriptor = stream.fileno()
        size = source.stat().st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(descriptor, position, os.SEEK_DATA)
            except OSError:  # ENXIO: only a hole is left
                return
            end = os.lseek(descriptor, start, os.SEEK_HOLE)
            stream.seek(start)
            target.seek(offset + start)
            while start < end:
                block = stream.read(min(_COPY_BYTES, end - start))
                target.write(block)
                start += len(block)
            position = end
