"""A volume as plain bytes: BitLocker opened, the partition cut out, one path for NTFS tools."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.bitlocker.master_key import KnownKey
from unbrick.disks.bitlocker.unlock import unlock
from unbrick.disks.disk import Disk, refuses_writes
from unbrick.disks.in_use import FLOCK, volume_in_use
from unbrick.disks.loop_device import attach_loop
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.model import Volume, VolumeKind
from unbrick.processes.command import Runner
from unbrick.secret import Secret


@dataclass(frozen=True)
class PlainVolume:
    """A volume's plain bytes: a device or file of `length` bytes at `path`, open as its disk is.

    `write_protected`: it can be opened and read, but every write would fail late.
    """

    path: Path
    length: int
    _sync: Callable[[], None]
    write_protected: bool = False

    def sync(self) -> None:
        """Flush every layer from here down to the disk; raises FailedError (unreadable-disk)."""
        self._sync()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep others from mounting the volume while the context lasts, or refuse, as ntfs-3g does.

        Raises NeedsHandsError (disk-in-use), OSError.
        """
        exclusive = os.O_EXCL if self.path.is_block_device() else 0  # against the kernel's own file systems
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | exclusive)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            raise volume_in_use() from error
        try:
            _lock(descriptor)
            yield
        finally:
            os.close(descriptor)


@contextmanager
def open_plain(
    disk: Disk,
    volume: Volume,
    password: Secret | None,
    runner: Runner,
    workdir: Path,
    *,
    wanted: str | None = None,
    known: KnownKey | None = None,
) -> Iterator[PlainVolume]:
    """A volume as plain bytes while the context lasts; `password` None opens BitLocker by its clear key.

    `wanted` is the id of the BitLocker protector that the password is kept under, where that is known, and
    `known` the key that opened the volume before, or does now. Opened for writing where the disk is; nothing
    is written here. Raises NeedsHandsError where the disk or the volume must never be written, KeyWrongError,
    FailedError.
    """
    refusal = disk.refusal or volume.refusal
    if refusal is not None:
        raise NeedsHandsError(f"{disk.path}: nothing may be written to this volume", reason=refusal)
    with ExitStack() as stack:
        if volume.kind is VolumeKind.BITLOCKER:
            path = stack.enter_context(
                unlock(disk, volume, password, runner, workdir, wanted=wanted, known=known)
            )
        elif volume.offset == 0 and volume.length == disk.size:
            path = disk.raw
        else:
            loop = attach_loop(
                disk.raw, offset=volume.offset, length=volume.length, read_only=not disk.writable
            )
            path = stack.enter_context(loop)
        descriptor = _open(path, disk)
        stack.callback(os.close, descriptor)

        def sync() -> None:
            # Each layer separately: dislocker does not pass a flush on to the layer that it reads from.
            try:
                os.fsync(descriptor)
            except OSError as error:
                raise FailedError(
                    f"{disk.path}: what was written did not reach the disk: {error.strerror}",
                    hint="run unbrick again: it finishes what was begun; failing that, copy the disk first",
                    reason=Reason.UNREADABLE_DISK,
                ) from error
            disk.sync()

        length = os.lseek(descriptor, 0, os.SEEK_END)
        protected = disk.protected is not None or _is_write_protected(disk.raw)
        yield PlainVolume(path, length, sync, write_protected=protected)


def _lock(descriptor: int) -> None:
    # A lock of the open file, not of the process: closing another descriptor does not drop it.
    everything = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)  # 0 bytes from 0
    try:
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, everything)
    except BlockingIOError as error:
        raise volume_in_use() from error


def _is_write_protected(raw: Path) -> bool:
    if not raw.is_block_device():
        return False
    descriptor = os.open(raw, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return refuses_writes(descriptor)
    finally:
        os.close(descriptor)


def _open(path: Path, disk: Disk) -> int:
    """`path` may be a temporary loop device; the error names `disk`."""
    try:
        return os.open(path, (os.O_RDWR if disk.writable else os.O_RDONLY) | os.O_CLOEXEC)
    except OSError as error:
        raise FailedError(
            f"{disk.path} cannot be opened{' for writing' if disk.writable else ''}: {error.strerror}",
            hint="is it write-protected, or in use by another program?",
            reason=Reason.READ_ONLY,
        ) from error
