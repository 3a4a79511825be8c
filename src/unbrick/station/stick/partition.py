"""The stick's partition UNBRICK: found among what is plugged in from outside, and mounted as data.

FAT, so that any PC can open it; what is on it is hostile. A stick may be pulled at any moment.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from unbrick.processes.libc import mount_data, unmount
from unbrick.station.machine.block_devices import SYSFS, BlockDevice
from unbrick.station.machine.small_files import text_of

LABEL = b"UNBRICK    "
_OPTIONS = "umask=0077,flush,shortname=mixed,errors=remount-ro"
# ECMA-119: the primary volume descriptor, and its volume identifier.
_ISO_DESCRIPTOR, _ISO_MAGIC, _ISO_LABEL = 16 * 2048, b"\x01CD001", slice(40, 72)
# The names that NTFS and BitLocker give themselves in their first sector.
_WINDOWS = {b"NTFS    ", b"-FVE-FS-"}
_SECTOR = 512
_SIGNATURE = (510, b"\x55\xaa")
# Microsoft's FAT specification, offsets in the boot sector: kind of file system, label, serial number.
_KINDS = ((82, 71, 67, b"FAT32   "), (54, 43, 39, b"FAT16   "), (54, 43, 39, b"FAT12   "))
_GEOMETRY = struct.Struct("<HBHBH")  # from byte 11: sector, cluster, reserved sectors, tables, root entries
_SECTOR_SIZES = {512, 1024, 2048, 4096}
_ENTRY = 32
_MOST_BYTES = 64 * 1024
_LABEL, _LONG_NAME, _DELETED = 0x08, 0x0F, 0xE5

Read = Callable[[int, int], bytes]
"""`read(offset, length)`: that many bytes, or as many as there are."""


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
    """The one that settings are read from and reports written to."""
    return next(find_sticks(devices), None)


def times_plugged_in(stick: Stick, sysfs: Path = SYSFS) -> str | None:
    """What tells one stick, and each time that it is put in, from another; None where it is gone."""
    return text_of(sysfs / "block" / stick.disk.name / "diskseq") or None


def find_medium(devices: Sequence[BlockDevice]) -> tuple[BlockDevice, ...]:
    """What carries the medium itself: a stick with our partition, a disc or disk with our ISO image."""
    return tuple(
        disk for disk in devices if disk.size and not disk.held_by and disk.array is None and _is_medium(disk)
    )


def _is_medium(disk: BlockDevice) -> bool:
    # The image's mark lies between the table and the first partition, and outlives what comes later: a disk
    # that has a Windows now is that one's.
    places = [disk.path.with_name(name) for name in disk.partitions]
    labelled = (*places, disk.path) if disk.outside else (disk.path,)
    if not _holds_image(disk) and not any(_read_unbrick(place) for place in labelled):
        return False
    return disk.outside or not any(_read(place, 3, 8) in _WINDOWS for place in places)


def _holds_image(disk: BlockDevice) -> bool:
    return is_unbrick_iso(_read(disk.path, _ISO_DESCRIPTOR, 2048))


def _read_unbrick(device: Path) -> FatVolume | None:
    volume = read_fat(partial(_read, device))
    return volume if volume is not None and LABEL in volume.labels else None


def is_unbrick_iso(descriptor: bytes) -> bool:
    """Whether a volume descriptor is that of our ISO image."""
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


@dataclass(frozen=True)
class FatVolume:
    """`labels` are eleven bytes each, `serial` is the volume serial number (`1A2B-3C4D`)."""

    labels: frozenset[bytes]
    serial: str


def read_fat(read: Read) -> FatVolume | None:
    """What a FAT file system says of itself; None where there is none."""
    sector = read(0, _SECTOR)
    at, signature = _SIGNATURE
    if len(sector) < _SECTOR or sector[at : at + 2] != signature:
        return None
    for kind_at, label_at, serial_at, kind in _KINDS:
        if sector[kind_at : kind_at + 8] == kind:
            low, high = struct.unpack_from("<HH", sector, serial_at)
            labels = {sector[label_at : label_at + 11], *_root_labels(read, sector, kind_at == _KINDS[0][0])}
            return FatVolume(frozenset(one.upper() for one in labels), f"{high:04X}-{low:04X}")
    return None


def _root_labels(read: Read, sector: bytes, is_fat32: bool) -> Iterator[bytes]:
    # Windows writes the name into the root folder alone, and NO NAME into the boot sector; Linux writes both.
    size, cluster, reserved, tables, entries = _GEOMETRY.unpack_from(sector, 11)
    if size not in _SECTOR_SIZES:
        return
    length = struct.unpack_from("<I", sector, 36)[0] if is_fat32 else struct.unpack_from("<H", sector, 22)[0]
    begins = (reserved + tables * length) * size
    most = entries * _ENTRY
    if is_fat32:
        begins += max(struct.unpack_from("<I", sector, 44)[0] - 2, 0) * cluster * size
        most = cluster * size
    folder = read(begins, min(most, _MOST_BYTES))
    for start in range(0, len(folder) - _ENTRY + 1, _ENTRY):
        name, attributes = folder[start : start + 11], folder[start + 11]
        if name[0] == 0:
            return
        if name[0] != _DELETED and attributes & _LABEL and attributes != _LONG_NAME:
            yield name
            return
