"""The stick's partition UNBRICK: found among what is plugged in from outside, and mounted as data.

FAT, so that any PC can open it; whatever lies there is hostile. A stick may be pulled at any moment.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unbrick.processes.libc import mount_data, unmount
from unbrick.station.machine.block_devices import SYSFS, BlockDevice, kernel_text
from unbrick.station.stick.fat_volume import FatVolume, read_fat

LABEL = b"UNBRICK    "
_OPTIONS = "umask=0077,flush,shortname=mixed,errors=remount-ro"
# ECMA-119: the primary volume descriptor, and its volume identifier.
_ISO_DESCRIPTOR, _ISO_MAGIC, _ISO_LABEL = 16 * 2048, b"\x01CD001", slice(40, 72)
# The names that NTFS and BitLocker give themselves in their first sector.
_WINDOWS = {b"NTFS    ", b"-FVE-FS-"}


@dataclass(frozen=True)
class Stick:
    """A partition UNBRICK: its device, the disk that it is on, its volume serial number (`1A2B-3C4D`)."""

    device: Path
    disk: BlockDevice
    serial: str = ""


def find_sticks(devices: Sequence[BlockDevice]) -> Iterator[Stick]:
    """Every partition UNBRICK on something plugged in from outside.

    Disks that carry our image go first: one that only bears the name may be anybody's.
    """
    outside = [disk for disk in devices if disk.outside and not disk.optical and disk.size]
    for disk in sorted(outside, key=lambda one: not _holds_image(one)):
        for device in (*(disk.path.with_name(name) for name in disk.partitions), disk.path):
            if (volume := _read_unbrick(device)) is not None:
                yield Stick(device, disk, volume.serial)


def find_stick(devices: Sequence[BlockDevice]) -> Stick | None:
    """The first of them, which settings are read from and reports written to."""
    return next(find_sticks(devices), None)


def times_plugged_in(stick: Stick, sysfs: Path = SYSFS) -> str | None:
    """What tells one stick, and one time that it was put in, from another; None where it is gone."""
    return kernel_text(sysfs / "block" / stick.disk.name / "diskseq") or None


def find_medium(devices: Sequence[BlockDevice]) -> tuple[BlockDevice, ...]:
    """What carries the medium itself: a stick with our partition, a disc or disk with our ISO image."""
    return tuple(
        disk for disk in devices if disk.size and not disk.held_by and disk.array is None and _is_medium(disk)
    )


def _is_medium(disk: BlockDevice) -> bool:
    """Whether the medium is on a disk; where there is a Windows too, it is that one's, whatever else it says.

    The image's mark lies between a table and the first partition, where it outlives what comes later.
    """
    places = [disk.path.with_name(name) for name in disk.partitions]
    labelled = (*places, disk.path) if disk.outside else (disk.path,)
    if not _holds_image(disk) and not any(_read_unbrick(place) for place in labelled):
        return False
    return disk.outside or not any(_read(place, 3, 8) in _WINDOWS for place in places)


def _holds_image(disk: BlockDevice) -> bool:
    return is_unbrick_iso(_read(disk.path, _ISO_DESCRIPTOR, 2048))


def _read_unbrick(device: Path) -> FatVolume | None:
    """The FAT file system on a device where it is called UNBRICK."""
    volume = read_fat(partial(_read, device))
    return volume if volume is not None and LABEL in volume.labels else None


def is_unbrick_iso(descriptor: bytes) -> bool:
    """Whether a volume descriptor is that of an ISO image of ours."""
    return descriptor.startswith(_ISO_MAGIC) and descriptor[_ISO_LABEL].strip().startswith(b"UNBRICK")


@contextmanager
def mounted(stick: Stick, folder: Path) -> Iterator[bool]:
    """Mount the stick on a folder while the context lasts; tells whether it takes writes. Raises OSError."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    writable = True
    try:
        mount_data(stick.device, folder, "vfat", _OPTIONS)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        mount_data(stick.device, folder, "vfat", _OPTIONS, read_only=True)
        writable = False
    try:
        yield writable
    finally:
        with suppress(OSError):
            unmount(folder, detach=True)


def _read(device: Path, offset: int, length: int) -> bytes:
    try:
        descriptor = os.open(device, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.pread(descriptor, length, offset)
        finally:
            os.close(descriptor)
    except OSError:
        return b""
