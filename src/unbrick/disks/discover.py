"""Opens a disk or disk image: its raw bytes, its volumes, what each is, what forbids writing.

An image is first opened so that none of its bytes changes; for writing only once a person has agreed.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO

from unbrick.disks.disk import Disk, refuses_writes
from unbrick.disks.free_space import has_holes
from unbrick.disks.identify.partition_table import TableKind
from unbrick.disks.identify.self_encryption import is_opal_locked
from unbrick.disks.identify.verdict import Source, Verdict, judge_disk
from unbrick.disks.images.export import export_raw, write_protected
from unbrick.disks.images.image import Image, ImageFormat, examine_image, refuse_given_format
from unbrick.disks.images.parts import open_part
from unbrick.disks.in_use import (
    claim,
    hold_locks,
    refuse_base_in_use,
    refuse_device_in_use,
    refuse_image_in_use,
)
from unbrick.disks.plain_name import plain_name
from unbrick.disks.raw_view import UNREAD_HINT, RawView
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.processes.command import Runner

_SMALLEST_SECTOR = 512
_BLKSSZGET = 0x1268  # linux/fs.h: the logical sector size
_UNREAD_IMAGE_HINT = (
    "the image may be damaged (qemu-img check), or the disk that it lies on failing: work on a copy"
)


class Purpose(Enum):
    """What a disk is opened for. PLAN: to say what a write would meet. WRITE: to write, once agreed to."""

    LOOK = auto()
    PLAN = auto()
    WRITE = auto()


@dataclass(frozen=True)
class Opening:
    """How a disk is opened.

    `purpose` WRITE opens a device or a raw image for writing at once, which changes nothing in it; any other
    image only in `Disk.open_for_writing`. `image_format` is a person's word for an image whose name says
    nothing. `ignore_raid`: a person says that the disk's RAID signatures are stale.
    """

    purpose: Purpose = Purpose.LOOK
    image_format: ImageFormat | None = None
    ignore_raid: bool = False


@dataclass(frozen=True)
class _Opened:
    """A disk as raw bytes; `files` are flushed in their order, the raw bytes first."""

    raw: Path
    size: int
    sector_sizes: tuple[int, ...]
    files: tuple[Path, ...]
    writable: bool
    images: tuple[Path, ...] = ()
    is_raw_image: bool = False
    protected: NeedsHandsError | None = None
    unread_hint: str = UNREAD_HINT


_AS_IT_COMES = Opening()


@contextmanager
def open_disk(path: Path, runner: Runner, workdir: Path, opening: Opening = _AS_IT_COMES) -> Iterator[Disk]:
    """Open a block device or an image; everything started for it has ended when the context is left.

    Changes no byte of it; `Disk.open_for_writing` is for writing. Raises FailedError (not-found,
    unreadable-disk) or NeedsHandsError (empty-disk, truncated, image-mismatch, image-unsafe, damaged-image,
    damaged-table, disk-in-use, opal-locked). A disk that is a member of something larger is returned with
    `refusal` set.
    """
    real, mode = _resolve(path)
    with ExitStack() as stack:
        stack.enter_context(claim(real))
        layers = stack.enter_context(ExitStack())
        kind = _open_device if stat.S_ISBLK(mode) else _open_image

        def open_layers(*, writing: bool) -> Disk:
            opened = kind(real, opening, runner, workdir, layers, writing=writing)
            stream = open_part(opened.raw)
            layers.callback(_close, stream)
            view = RawView(stream, opened.size, str(path), unread_hint=opened.unread_hint)
            source = Source(opened.raw, stream, view, runner, ignore_raid=opening.ignore_raid)
            verdict = judge_disk(source, opened.sector_sizes)
            # A file system that fills the whole file may be opened as it is, and ntfs-3g locks what it opens.
            if opened.is_raw_image and verdict.table.kind is not TableKind.NONE:
                layers.enter_context(hold_locks(opened.images))
            return _disk(path, opened, verdict)

        looked = open_layers(writing=False)

        def reopen() -> Disk:
            layers.close()
            disk = open_layers(writing=True)
            if (disk.size, disk.guid, disk.volumes) != (looked.size, looked.guid, looked.volumes):
                raise NeedsHandsError(
                    f"{path} is in use: it changed between looking at it and writing to it; "
                    "nothing was written",
                    hint="shut the machine down that uses it, then try again",
                    reason=Reason.DISK_IN_USE,
                )
            return disk

        yield replace(looked, _reopen=reopen)


def _disk(path: Path, opened: _Opened, verdict: Verdict) -> Disk:
    return Disk(
        path=path,
        raw=opened.raw,
        size=opened.size,
        sector_size=verdict.table.sector_size,
        guid=verdict.table.guid,
        volumes=verdict.volumes,
        refusal=str(verdict.refusal) if verdict.refusal else None,
        refusal_text=verdict.refusal_text,
        notes=verdict.notes,
        _sync=lambda: _flush(path, opened.files),
        writable=opened.writable,
        protected=opened.protected,
        images=opened.images,
        growing=tuple(path for path in opened.images if not opened.is_raw_image or has_holes(path)),
    )


def _resolve(path: Path) -> tuple[Path, int]:
    # Nothing is opened here: opening a pipe would wait for ever.
    try:
        real = path.resolve(strict=True)
        mode = real.stat().st_mode
    except (OSError, RuntimeError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        what = "does not exist" if missing else f"cannot be reached: {getattr(error, 'strerror', error)}"
        raise FailedError(
            f"{path} {what}",
            hint="lsblk lists the disks of this machine",
            reason=Reason.NOT_FOUND if missing else Reason.UNREADABLE_DISK,
        ) from error
    if not stat.S_ISBLK(mode) and not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "neither a disk nor a file"
        raise FailedError(
            f"{path} is {what}",
            hint="name a disk such as /dev/sda, or an image file",
            reason=Reason.NOT_FOUND,
        )
    return real, mode


def _open_image(
    real: Path, opening: Opening, runner: Runner, workdir: Path, layers: ExitStack, *, writing: bool
) -> _Opened:
    with open_part(real):
        pass
    if real.stat().st_size == 0:
        raise _empty(real)
    refuse_image_in_use([real])
    image = examine_image(real, opening.image_format)
    refuse_image_in_use(image.files[1:])
    refuse_base_in_use(image.bases)
    if image.format is ImageFormat.RAW:
        if image.virtual_size < _SMALLEST_SECTOR:
            raise NeedsHandsError(
                f"{real} is cut short: {image.virtual_size} bytes are not even one sector",
                hint="copy the image again",
                reason=Reason.TRUNCATED,
            )
        raw = layers.enter_context(plain_name(real, workdir))
        files: tuple[Path, ...] = (real,)
        writing = opening.purpose is Purpose.WRITE  # this only opens the file: nothing in it changes
    else:
        raw = layers.enter_context(export_raw(image, runner, workdir, writable=writing))
        files = (raw, *image.files)
    protected = _protection(image) if opening.purpose is not Purpose.LOOK else None
    return _Opened(
        raw,
        image.virtual_size,
        image.sector_sizes,
        files,
        writable=writing and protected is None,
        images=image.files,
        is_raw_image=image.format is ImageFormat.RAW,
        protected=protected,
        unread_hint=UNREAD_HINT if image.format is ImageFormat.RAW else _UNREAD_IMAGE_HINT,
    )


def _protection(image: Image) -> NeedsHandsError | None:
    """Why an image cannot be written, found by opening its files; None where it can be."""
    for path in image.files:
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK))
        except OSError as error:
            if error.errno in {errno.EROFS, errno.EPERM, errno.EACCES}:
                return write_protected(path)
            raise
    return None


def _open_device(
    real: Path, opening: Opening, runner: Runner, workdir: Path, layers: ExitStack, *, writing: bool
) -> _Opened:
    refuse_given_format(real, opening.image_format)
    refuse_device_in_use(real)
    with open_part(real) as stream:
        descriptor = stream.fileno()
        if is_opal_locked(descriptor):
            raise NeedsHandsError(
                f"{real} encrypts itself and is locked",
                hint="unlock it in the firmware, or with sedutil-cli, then try again",
                reason=Reason.OPAL_LOCKED,
            )
        size = os.lseek(descriptor, 0, os.SEEK_END)
        (sector_size,) = struct.unpack("<i", fcntl.ioctl(descriptor, _BLKSSZGET, bytes(4)))
        protected = refuses_writes(descriptor)
    if size == 0:
        raise _empty(real)
    # A disk moved into another enclosure may be shown with sectors of another size than its table's.
    sector_sizes = (4096, 512) if sector_size == 4096 else (512, 4096)
    return _Opened(
        real,
        size,
        sector_sizes,
        (real,),
        writable=opening.purpose is Purpose.WRITE and not protected,
        protected=_switched_off(real) if protected else None,
    )


def _switched_off(device: Path) -> NeedsHandsError:
    return NeedsHandsError(
        f"{device} is write-protected",
        hint="lift the protection (a switch, a write blocker, blockdev --setrw), then try again",
        reason=Reason.READ_ONLY,
    )


def _empty(real: Path) -> NeedsHandsError:
    return NeedsHandsError(
        f"{real} is empty (0 bytes)",
        hint="copy the image again, or check the disk's cable",
        reason=Reason.EMPTY_DISK,
    )


def _close(stream: BinaryIO) -> None:
    # Closing a file whose FUSE server died fails; that is reported where the server is stopped.
    with suppress(OSError):
        stream.close()


def _flush(path: Path, files: tuple[Path, ...]) -> None:
    for file in files:
        try:
            with file.open("rb", buffering=0) as stream:
                os.fsync(stream)
        except OSError as error:
            raise FailedError(
                f"{path}: what was written could not be flushed to the disk: {error.strerror}",
                hint="run unbrick again: it finishes what was begun; failing that, copy the disk first",
                reason=Reason.UNREADABLE_DISK,
            ) from error
