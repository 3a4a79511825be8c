"""The firmware's boot entries, and the one variable that is ever written: BootNext, for one restart.

Formats from the UEFI Specification 2.10, 3.1.3 (EFI_LOAD_OPTION), 3.3 (variables), 10.3 (device paths), and
from the kernel's efivarfs: four bytes of attributes before the value. What firmware wrote is hostile: lengths
are checked, and an entry that is not as the specification has it is passed over.
"""

from __future__ import annotations

import os
import re
import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError
from unbrick.station.machine.small_files import names_in

VARIABLES = Path("/sys/firmware/efi/efivars")
_GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
_BOOT_NEXT = f"BootNext-{_GLOBAL}"
_BOOT_ENTRY = re.compile(rf"Boot([0-9A-F]{{4}})-{_GLOBAL}")
_MOST_BYTES = 64 * 1024
_MOST_ENTRIES = 1024
_ACTIVE = 0x1
_ATTRIBUTES = struct.pack("<I", 0x7)  # non-volatile, boot service access, runtime access
_HEAD = struct.Struct("<IH")
_NODE = struct.Struct("<BBH")
_MEDIA, _HARD_DRIVE, _FILE_PATH = 4, 1, 4
_END, _END_ENTIRE = 0x7F, 0xFF
_HARD_DRIVE_BYTES = 42
_SIGNATURE_GPT = 2
_WINDOWS_NAME = "windows boot manager"
_WINDOWS_FILE = ["efi", "microsoft", "boot", "bootmgfw.efi"]


@dataclass(frozen=True)
class BootEntry:
    """One `Boot####`: its number, what the firmware's menu calls it, and where it leads.

    `partition` is the GPT GUID of the partition it starts from (upper case), `file` the path there.
    """

    number: int
    description: str
    active: bool
    partition: str | None = None
    file: str | None = None

    @property
    def is_windows(self) -> bool:
        """Whether it starts Windows' boot manager: by its file, or by its name where it has no file."""
        if self.file is not None:
            return [part for part in re.split(r"[\\/]", self.file.casefold()) if part] == _WINDOWS_FILE
        return self.is_called_windows

    @property
    def is_called_windows(self) -> bool:
        return self.description.strip().casefold() == _WINDOWS_NAME


class _NoEntryError(ValueError):
    """Bytes that are no EFI_LOAD_OPTION."""


def parse_load_option(number: int, data: bytes) -> BootEntry | None:
    try:
        attributes, length = _HEAD.unpack_from(data)
        end = data.find(b"\0\0", _HEAD.size)
        while end >= 0 and (end - _HEAD.size) % 2:
            end = data.find(b"\0\0", end + 1)
        path = data[end + 2 : end + 2 + length]
        if end < 0 or len(path) != length:
            return None
        description = data[_HEAD.size : end].decode("utf-16-le")
        partition, file = _destination(path)
    except (struct.error, UnicodeDecodeError, _NoEntryError):
        return None
    return BootEntry(number, description, bool(attributes & _ACTIVE), partition, file)


def _destination(path: bytes) -> tuple[str | None, str | None]:
    """Partition and file of a device path; raises _NoEntryError where it does not end as one."""
    partition, file = None, None
    for kind, subtype, content in _nodes(path):
        if (kind, subtype) == (_MEDIA, _HARD_DRIVE):
            if len(content) != _HARD_DRIVE_BYTES - _NODE.size:
                raise _NoEntryError
            if content[-1] == _SIGNATURE_GPT:
                partition = str(uuid.UUID(bytes_le=content[20:36])).upper()
        elif (kind, subtype) == (_MEDIA, _FILE_PATH):
            file = (file or "") + content.decode("utf-16-le").split("\0")[0]
    return partition, file


def _nodes(path: bytes) -> Iterator[tuple[int, int, bytes]]:
    """The nodes of the first device path; raises _NoEntryError where its lengths do not fit."""
    while True:
        if len(path) < _NODE.size:
            raise _NoEntryError
        kind, subtype, length = _NODE.unpack_from(path)
        if not _NODE.size <= length <= len(path):
            raise _NoEntryError
        if kind == _END and subtype == _END_ENTIRE:
            return
        yield kind, subtype, path[_NODE.size : length]
        path = path[length:]


def read_boot_entries(folder: Path = VARIABLES) -> tuple[BootEntry, ...]:
    """Every boot entry, by number; none where the machine was not started by UEFI."""
    entries = []
    for name in names_in(folder)[: 16 * _MOST_ENTRIES]:
        match = _BOOT_ENTRY.fullmatch(name)
        data = _read(folder / name) if match else None
        entry = parse_load_option(int(match[1], 16), data[4:]) if match and data else None
        if entry is not None:
            entries.append(entry)
    return tuple(entries[:_MOST_ENTRIES])


def find_windows_entry(
    entries: tuple[BootEntry, ...], partitions: frozenset[str], present: frozenset[str] = frozenset()
) -> BootEntry | None:
    """The entry that starts Windows, rather one on `partitions` (GUIDs of the disks that were worked on).

    `present` are the GUIDs of all disks that are here. Where nothing is known of the disks that were worked
    on, nothing is left out.
    """
    # An entry that leads to no disk here was left by one that is gone: the firmware would pass it over, and
    # start the medium again.
    here = {None, *partitions, *present}
    # On a disk that was worked on an entry that only has the name will do, too: what `bcdedit /set {bootmgr}
    # path` put before Windows starts that machine every day.
    windows = [
        entry
        for entry in entries
        if (entry.is_windows and (not partitions or entry.partition in here))
        or (entry.is_called_windows and entry.partition in partitions)
    ]

    def worth(entry: BootEntry) -> tuple[bool, bool, bool, bool, int]:
        elsewhere, unknown = entry.partition not in partitions, entry.partition is None
        return (elsewhere, not entry.is_windows, unknown, not entry.active, entry.number)

    return min(windows, key=worth, default=None)


def set_boot_next(entry: BootEntry, folder: Path = VARIABLES) -> None:
    """Have the firmware start this entry at the next restart, once; raises FailedError where it will not."""
    wanted = _ATTRIBUTES + struct.pack("<H", entry.number)
    path = folder / _BOOT_NEXT
    try:
        # One write is one call to the firmware.
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.write(descriptor, wanted)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FailedError(f"the firmware does not take BootNext: {error.strerror}") from error
    if _read(path) != wanted:  # some firmware takes a write and keeps nothing
        raise FailedError("the firmware did not keep BootNext")


def _read(path: Path) -> bytes | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES)
    except OSError:
        return None
