"""Writes a stick and reads every written byte back from it.

The head, which makes a stick start, is wiped first and written last: a stick that is pulled too early starts
nothing.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from unbrick.errors import FailedError, HalfDoneError, NeedsHandsError, Reason
from unbrick.media.stick.layout import HEAD_BYTES, MIB, StickLayout

Progress = Callable[[str, int, int], None]
"""`progress("writing" or "reading back", bytes done, bytes in all)`."""

_CHUNK = 4 * MIB
# linux/fs.h: drop what is cached of a block device, so that reading reads the stick; read its table again.
_BLKFLSBUF, _BLKRRPART = 0x1261, 0x125F
_PULLED = "the stick was pulled, is broken or write-protected; as it is, it starts nothing: write it again"
_BROKEN = "the stick is broken, or smaller than it says: throw it away"


@dataclass(frozen=True)
class Written:
    """Bytes, and the seconds that writing (to the stick itself) and reading back took."""

    size: int
    write_seconds: float
    verify_seconds: float


@contextmanager
def open_exclusively(path: Path) -> Iterator[int]:
    """A stick, open for reading and writing, which cannot be mounted while it is open.

    Raises NeedsHandsError (disk-in-use) and FailedError.
    """
    try:
        device = stat.S_ISBLK(path.stat().st_mode)
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | (os.O_EXCL if device else 0))
    except OSError as error:
        if isinstance(error, BlockingIOError) or error.errno == errno.EBUSY:
            raise NeedsHandsError(
                f"{path} is in use by this computer",
                hint="close what uses it (umount), then try again",
                reason=Reason.DISK_IN_USE,
            ) from error
        raise FailedError(
            f"{path}: cannot be written: {error.strerror}", hint="run as root (sudo)"
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def write_stick(
    stick: int, image: Path, layout: StickLayout, volume: Sequence[tuple[int, bytes]], progress: Progress
) -> Written:
    """Write image, table and `volume` (of `make_volume`) to an open stick, then compare it.

    All that was on the stick is lost with the first byte. Raises FailedError, HalfDoneError.
    """
    try:
        total = layout.image_size + sum(len(data) for _, data in (*layout.pieces[1:], *volume))
        began = time.monotonic()
        # Both copies of the old partition table, and the marks of a file system on the whole stick.
        for offset in (0, max(layout.disk_size - MIB, 0)):
            _write(stick, offset, bytes(min(MIB, layout.disk_size - offset)))
        done = 0
        for offset, data in _chunks(image, layout, volume):
            _write(stick, offset, data)
            done += len(data)
            progress("writing", done, total)
        _write(stick, 0, layout.head)
        progress("writing", total, total)
        _drop_cache(stick)
        written = time.monotonic()
        done = 0
        for offset, data in chain(_chunks(image, layout, volume), [(0, layout.head)]):
            _compare(stick, offset, data)
            done += len(data)
            progress("reading back", done, total)
        # A file has no table that the kernel would read; a stick that is closed is read anyway.
        with suppress(OSError):
            fcntl.ioctl(stick, _BLKRRPART)
        return Written(total, written - began, time.monotonic() - written)
    except KeyboardInterrupt as error:
        raise HalfDoneError(
            "stopped: the stick is not complete", hint="write it again; it is wiped already"
        ) from error


def _chunks(
    image: Path, layout: StickLayout, volume: Sequence[tuple[int, bytes]]
) -> Iterator[tuple[int, bytes]]:
    """All but the head, in the order of the stick, in pieces of at most 4 MiB."""
    with image.open("rb") as stream:
        position = stream.seek(HEAD_BYTES)
        while position < layout.image_size:
            data = stream.read(min(_CHUNK, layout.image_size - position))
            if not data:
                raise FailedError(f"{image}: became shorter while it was read", hint="build it again")
            yield position, data
            position += len(data)
    behind, second = layout.pieces[1:]
    inside = [(layout.partition_offset + offset, data) for offset, data in volume]
    for start, data in (behind, *inside, second):
        for at in range(0, len(data), _CHUNK):
            yield start + at, data[at : at + _CHUNK]


def _write(stick: int, offset: int, data: bytes) -> None:
    """Write, and wait until the stick has it: the progress is not to be that of our memory."""
    try:
        view = memoryview(data)
        while view:
            count = os.pwrite(stick, view, offset)
            view, offset = view[count:], offset + count
        os.fdatasync(stick)
    except OSError as error:
        raise FailedError(
            f"the stick could not be written at {offset // MIB} MiB: {error.strerror}", hint=_PULLED
        ) from error


def _drop_cache(stick: int) -> None:
    os.posix_fadvise(stick, 0, 0, os.POSIX_FADV_DONTNEED)
    if stat.S_ISBLK(os.fstat(stick).st_mode):
        with suppress(OSError):  # not root, but allowed to write: then the advice above must do
            fcntl.ioctl(stick, _BLKFLSBUF)


def _compare(stick: int, offset: int, data: bytes) -> None:
    try:
        found = os.pread(stick, len(data), offset)
    except OSError as error:
        raise FailedError(
            f"the stick could not be read at {offset // MIB} MiB: {error.strerror}", hint=_PULLED
        ) from error
    if found != data:
        raise FailedError(
            f"the stick gives back other bytes than were written, at {offset // MIB} MiB", hint=_BROKEN
        )
