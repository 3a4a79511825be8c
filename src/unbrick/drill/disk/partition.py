"""The partition table of a machine's disk: GPT with ESP, MSR, one or two Windows volumes and recovery.

Written here and not by sfdisk because sfdisk and sgdisk give an image file 512-byte sectors only, and disks
with 4096-byte sectors are wanted too. Partition types and order are as Windows Setup makes them.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO

from unbrick.disks import gpt
from unbrick.drill.options import MIB, MachineOptions, dice

_ENTRY_COUNT = 128
_ALIGNMENT = MIB


class Role(StrEnum):
    """What a partition is for; the value is the name Windows Setup gives it."""

    ESP = "EFI system partition"
    RESERVED = "Microsoft reserved partition"
    WINDOWS = "Basic data partition"
    RECOVERY = "Recovery"


_TYPE = {
    Role.ESP: uuid.UUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B"),
    Role.RESERVED: uuid.UUID("E3C9E316-0B5C-4DB8-817D-F92DF00215AE"),
    Role.WINDOWS: uuid.UUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"),
    Role.RECOVERY: uuid.UUID("DE94BBA4-06D1-4D40-A16A-BFD50179D6AC"),
}
# Recovery partitions are required by the platform (bit 0) and get no drive letter (bit 63).
_ATTRIBUTES = {Role.RECOVERY: 0x8000000000000001}


@dataclass(frozen=True)
class Partition:
    """One partition: its number in the table, and bytes from the start of the disk."""

    number: int
    role: Role
    guid: uuid.UUID
    offset: int
    length: int


@dataclass(frozen=True)
class Layout:
    """A whole disk; `size` in bytes."""

    size: int
    sector_size: int
    guid: uuid.UUID
    partitions: tuple[Partition, ...]

    def of(self, role: Role) -> tuple[Partition, ...]:
        return tuple(partition for partition in self.partitions if partition.role is role)


def seeded_guid(*parts: object) -> uuid.UUID:
    """A random-looking (version 4) GUID that depends on these parts only."""
    return uuid.UUID(bytes=dice(*parts).randbytes(16), version=4)


def plan_layout(machine: MachineOptions) -> Layout:
    """Where everything goes on this machine's disk; the Windows volumes share what the rest leaves."""
    size = machine.size // _ALIGNMENT * _ALIGNMENT
    small = size < 1024 * MIB
    # FAT32 begins at 65,525 clusters: 33 MiB of 512-byte ones, 256 MiB of 4096-byte ones.
    esp = 260 * MIB if machine.sector_size == 4096 else 36 * MIB if small else 100 * MIB
    reserved = 16 * MIB
    recovery = 16 * MIB if small else 64 * MIB
    windows_count = 2 if machine.two_windows else 1
    free = size - 2 * _ALIGNMENT - esp - reserved - recovery
    windows = free // windows_count // _ALIGNMENT * _ALIGNMENT
    wanted = [(Role.ESP, esp), (Role.RESERVED, reserved)]
    wanted += [(Role.WINDOWS, windows)] * windows_count
    wanted += [(Role.RECOVERY, recovery)]
    partitions = []
    offset = _ALIGNMENT
    for number, (role, length) in enumerate(wanted, start=1):
        guid = seeded_guid(machine.seed, machine.name, "partition", number)
        partitions.append(Partition(number, role, guid, offset, length))
        offset += length
    return Layout(
        size, machine.sector_size, seeded_guid(machine.seed, machine.name, "disk"), tuple(partitions)
    )


def _protective_mbr(layout: Layout) -> bytes:
    sectors = min(layout.size // layout.sector_size - 1, 0xFFFFFFFF)
    entry = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, sectors)
    return bytes(446) + entry + bytes(48) + b"\x55\xaa"


def _entries(layout: Layout) -> bytes:
    entries = (
        gpt.Entry(
            _TYPE[one.role].bytes_le,
            one.guid.bytes_le,
            one.offset // layout.sector_size,
            (one.offset + one.length) // layout.sector_size - 1,
            _ATTRIBUTES.get(one.role, 0),
            one.role.value,
        )
        for one in layout.partitions
    )
    return b"".join(entry.packed() for entry in entries).ljust(gpt.ENTRY_SIZE * _ENTRY_COUNT, b"\0")


def _header(layout: Layout, entries: bytes, *, at: int, other: int, entries_at: int) -> bytes:
    entry_sectors = len(entries) // layout.sector_size
    last = layout.size // layout.sector_size - 1
    header = gpt.Header(
        signature=gpt.SIGNATURE,
        revision=0x00010000,
        size=gpt.HEADER_SIZE,
        checksum=0,
        reserved=0,
        own=at,
        alternate=other,
        first_usable=2 + entry_sectors,
        last_usable=last - entry_sectors - 1,
        guid=layout.guid.bytes_le,
        entries_at=entries_at,
        entry_count=_ENTRY_COUNT,
        entry_size=gpt.ENTRY_SIZE,
        entries_checksum=zlib.crc32(entries),
    )
    return header.packed()


def write_table(stream: BinaryIO, layout: Layout) -> None:
    entries = _entries(layout)
    entry_sectors = len(entries) // layout.sector_size
    last = layout.size // layout.sector_size - 1
    backup = last - entry_sectors
    pieces = {
        0: _protective_mbr(layout),
        1: _header(layout, entries, at=1, other=last, entries_at=2),
        2: entries,
        backup: entries,
        last: _header(layout, entries, at=last, other=1, entries_at=backup),
    }
    for sector, data in pieces.items():
        stream.seek(sector * layout.sector_size)
        stream.write(data)
