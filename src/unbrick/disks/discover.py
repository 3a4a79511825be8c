"""One disk or disk image, opened: its raw bytes, its volumes, what each is, what forbids writing."""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from unbrick.command import Runner
from unbrick.disks.export import export_raw
from unbrick.disks.image import ImageFormat, examine_image
from unbrick.disks.image_parts import open_part
from unbrick.disks.in_use import (
    claim,
    keep_ours,
    refuse_base_in_use,
    refuse_device_in_use,
    refuse_image_in_use,
)
from unbrick.disks.partition import TableKind
from unbrick.disks.raw_view import RawView
from unbrick.disks.self_encryption import is_opal_locked
from unbrick.disks.signatures import Source
from unbrick.disks.verdict import Verdict, judge_disk
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.model import Volume

_SMALLEST_SECTOR = 512
_BLKSSZGET = 0x1268  # linux/fs.h: the logical sector size


@dataclass(frozen=True)
class Disk:
    """A disk that is open for work; sizes and offsets are bytes.

    `path` is what was asked for, `raw` the same disk as raw bytes (the device, the raw image, or the
    export of another format). `guid` is the GPT's disk GUID, or an MBR's signature as 8 hex digits, upper
    case. `refusal` is a reason word where nothing on this disk may ever be written, `refusal_text` its
    sentence. `notes` are sentences for a person (a table read from its backup).
    """

    path: Path
    raw: Path
    size: int
    sector_size: int
    guid: str | None
    volumes: tuple[Volume, ...]
    refusal: str | None = None
    refusal_text: str | None = None
    notes: tuple[str, ...] = ()
    _sync: Callable[[], None] = lambda: None

    def sync(self) -> None:
        """Flush what was written to `raw` all the way down to the disk; raises FailedError."""
        self._sync()


@dataclass(frozen=True)
class _Opened:
    """A disk as raw bytes; `files` are flushed in their order, the raw bytes first."""

    raw: Path
    size: int
    sector_sizes: tuple[int, ...]
    files: tuple[Path, ...]
    own_images: tuple[Path, ...] = ()


@contextmanager
def open_disk(path: Path, runner: Runner, workdir: Path) -> Iterator[Disk]:
    """Open a block device or an image; all that was started for it has ended when the context is left.

    Raises FailedError (not-found, unreadable-disk) or NeedsHandsError (empty-disk, truncated,
    image-mismatch, image-unsafe, damaged-table, disk-in-use, opal-locked). A disk that is a member of
    something larger is given, with `refusal` set.
    """
    real, mode = _resolve(path)
    with ExitStack() as stack:
        stack.enter_context(claim(real))
        is_device = stat.S_ISBLK(mode)
        opened = _open_device(real) if is_device else _open_image(real, runner, workdir, stack)
        stream = open_part(opened.raw)
        stack.callback(_close, stream)
        source = Source(opened.raw, stream, RawView(stream, opened.size, str(path)), runner)
        verdict = judge_disk(source, opened.sector_sizes)
        # A file system that fills the whole file may be opened as it is, and ntfs-3g locks what it opens.
        if opened.own_images and verdict.table.kind is not TableKind.NONE:
            stack.enter_context(keep_ours(opened.own_images))
        yield _disk(path, opened, verdict)


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
        notes=verdict.table.notes,
        _sync=lambda: _flush(path, opened.files),
    )


def _resolve(path: Path) -> tuple[Path, int]:
    """The real path and its mode, without opening anything: opening a pipe would wait for ever."""
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


def _open_image(real: Path, runner: Runner, workdir: Path, stack: ExitStack) -> _Opened:
    with open_part(real):
        pass
    if real.stat().st_size == 0:
        raise _empty(real)
    refuse_image_in_use([real])
    image = examine_image(real)
    refuse_image_in_use(image.files[1:])
    refuse_base_in_use(image.bases)
    if image.format is ImageFormat.RAW:
        if image.virtual_size < _SMALLEST_SECTOR:
            raise NeedsHandsError(
                f"{real} is cut short: {image.virtual_size} bytes are not even one sector",
                hint="copy the image again",
                reason=Reason.TRUNCATED,
            )
        return _Opened(real, image.virtual_size, image.sector_sizes, (real,), (real,))
    raw = stack.enter_context(export_raw(image, runner, workdir))
    return _Opened(raw, image.virtual_size, image.sector_sizes, (raw, *image.files))


def _open_device(real: Path) -> _Opened:
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
    if size == 0:
        raise _empty(real)
    # A disk moved into another enclosure may be shown with sectors of another size than its table's.
    sector_sizes = (4096, 512) if sector_size == 4096 else (512, 4096)
    return _Opened(real, size, sector_sizes, (real,))


def _empty(real: Path) -> NeedsHandsError:
    return NeedsHandsError(
        f"{real} is empty (0 bytes)",
        hint="copy the image again, or check the disk's cable",
        reason=Reason.EMPTY_DISK,
    )


def _close(stream: BinaryIO) -> None:
    """Closing a file whose FUSE server died fails; that the server died is told where it is stopped."""
    with suppress(OSError):
        stream.close()


def _flush(path: Path, files: tuple[Path, ...]) -> None:
    for file in files:
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FailedError(
                f"{path}: what was written could not be flushed to the disk: {error.strerror}",
                hint="run unbrick again: it finishes what was begun",
                reason=Reason.UNREADABLE_DISK,
            ) from error
