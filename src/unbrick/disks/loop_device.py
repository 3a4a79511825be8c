"""A stretch of a disk or file as a block device of its own, which the kernel takes down when unbrick ends.

Uses the loop driver directly (`linux/loop.h`), because it must hold the device open: with the autoclear flag
set in the same call that attaches it, no kill -9 can leave one behind.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason

_LOOP_CONFIGURE = 0x4C0A
_LOOP_CTL_GET_FREE = 0x4C82
_LOOP_GET_STATUS64 = 0x4C05
_READ_ONLY = 1
_AUTOCLEAR = 4
# struct loop_config: fd, block size, struct loop_info64 (offset and size limit are its 4th and 5th number,
# the flags its 4th word, then the name that `losetup` lists), reserved.
_CONFIG = struct.Struct("<II 3Q QQ 3I I 64s 64s 32s 2Q 8Q")
_STATUS_BYTES = 232  # struct loop_info64; its first two numbers are the file's device and inode
_SECTOR = 512
_ATTEMPTS = 100


def is_backed_by(device: Path, file: os.stat_result) -> bool:
    """Whether a loop device shows this file, by the file's device and inode; raises OSError."""
    with device.open("rb", buffering=0) as stream:
        status = fcntl.ioctl(stream, _LOOP_GET_STATUS64, bytes(_STATUS_BYTES))
    return struct.unpack_from("<QQ", status) == (file.st_dev, file.st_ino)


@contextmanager
def attach_loop(backing: Path, *, offset: int, length: int, read_only: bool = False) -> Iterator[Path]:
    """`length` bytes of a file or device from `offset` on, as `/dev/loopN`; both are multiples of 512.

    The device is gone once the context and every mount on it have ended. Raises FailedError, NeedsHandsError.
    """
    if offset % _SECTOR or length % _SECTOR or offset < 0 or length <= 0:
        raise NeedsHandsError(
            f"{backing}: a volume at byte {offset}, {length} bytes long, does not lie on whole sectors",
            hint="gdisk or testdisk can rebuild the partition table; make a copy of the disk first",
            reason=Reason.DAMAGED_TABLE,
        )
    mode = os.O_RDONLY if read_only else os.O_RDWR
    try:
        source = os.open(backing, mode | os.O_CLOEXEC)
    except OSError as error:
        raise FailedError(
            f"{backing} cannot be opened: {error.strerror}", reason=Reason.UNREADABLE_DISK
        ) from error
    with ExitStack() as stack:
        stack.callback(os.close, source)
        path, device = _attach(source, backing, offset, length, mode)
        stack.callback(os.close, device)
        yield path


def _attach(source: int, backing: Path, offset: int, length: int, mode: int) -> tuple[Path, int]:
    flags = _AUTOCLEAR | (_READ_ONLY if mode == os.O_RDONLY else 0)
    name = os.fsencode(backing)[:63]
    config = _CONFIG.pack(
        *(source, 0), *(0, 0, 0), offset, length, *(0, 0, 0), flags, name, b"", b"", *[0] * 10
    )
    try:
        control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise FailedError(
            f"this system has no loop devices: {error.strerror}",
            hint="run it as root; in a container, give it /dev/loop-control and the loop devices",
            reason=Reason.NEEDS_ROOT,
        ) from error
    try:
        for _ in range(_ATTEMPTS):
            path = Path(f"/dev/loop{fcntl.ioctl(control, _LOOP_CTL_GET_FREE)}")
            device = os.open(path, mode | os.O_CLOEXEC)
            try:
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError as error:
                os.close(device)
                # The number is only a hint: another process may have taken that one meanwhile.
                if error.errno != errno.EBUSY:
                    raise
            else:
                return path, device
    except OSError as error:
        raise _none_free(f"{backing}: no loop device could be attached: {error.strerror}") from error
    finally:
        os.close(control)
    raise _none_free(f"{backing}: no loop device was free in {_ATTEMPTS} attempts")


def _none_free(message: str) -> FailedError:
    hint = "does the kernel have them (modprobe loop), and are some free (losetup --list)?"
    return FailedError(message, hint=hint, reason=Reason.PROGRAM_FAILED)
