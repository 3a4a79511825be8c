"""The way out: everything closed, then a reset of the whole machine, into Windows where its firmware allows.

Windows is never started from here: that would change what the TPM measures, and BitLocker would ask for its
key. BootNext is the only thing that is changed in the firmware.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import UnbrickError
from unbrick.processes.command import Runner
from unbrick.station.machine.block_devices import SYSFS, BlockDevice, list_block_devices
from unbrick.station.machine.firmware_entries import (
    BootEntry,
    find_windows_entry,
    read_boot_entries,
    set_boot_next,
)
from unbrick.station.machine.small_files import text_of
from unbrick.station.stick.partition import find_medium
from unbrick.station.targets import close_arrays

BOOT_NEXT, REMOVE_STICK, NONE = "boot-next", "remove-stick", "none"
_UDEV = Path("/run/udev/data")
_PARTITION_GUID = "E:ID_PART_ENTRY_UUID"
_CDROMEJECT = 0x5309  # linux/cdrom.h
_SYNC_SECONDS = 20.0
_LOOK_SECONDS = 0.3


@dataclass(frozen=True)
class Restart:
    """How this machine comes back into Windows: `way` is that of `EndingFacts.restart_way`."""

    way: str
    entry: BootEntry | None = None


def plan_restart(
    entries: tuple[BootEntry, ...],
    partitions: frozenset[str],
    present: frozenset[str],
    medium: Sequence[BlockDevice],
) -> Restart:
    """The way back: Windows' own entry, else without the medium, else (nothing to take out) as it comes.

    `partitions` are those of the disks that were worked on, `present` those of all disks.
    """
    entry = find_windows_entry(entries, partitions, present)
    if entry is not None:
        return Restart(BOOT_NEXT, entry)
    return Restart(REMOVE_STICK if medium else NONE)


def find_restart(disks: Sequence[str]) -> Restart:
    """The way back for this machine, after work on these disks (`/dev/sda`)."""
    devices = list_block_devices()
    present = partitions_of([str(device.path) for device in devices], devices)
    return plan_restart(read_boot_entries(), partitions_of(disks, devices), present, find_medium(devices))


def partitions_of(
    disks: Sequence[str], devices: Sequence[BlockDevice], *, sysfs: Path = SYSFS, udev: Path = _UDEV
) -> frozenset[str]:
    """The GUIDs (upper case) of the partitions of some disks, as udev has read them."""
    found = set()
    for device in devices:
        for name in device.partitions if str(device.path) in disks else ():
            number = text_of(sysfs / "class/block" / name / "dev")
            for line in text_of(udev / f"b{number}").splitlines():
                key, _, value = line.partition("=")
                if key == _PARTITION_GUID:
                    found.add(value.upper())
    return frozenset(found)


def take_boot_next(restart: Restart) -> tuple[Restart, str | None]:
    """Write BootNext where that is the way; gives another way, and why, where the firmware refuses."""
    if restart.entry is None:
        return restart, None
    try:
        set_boot_next(restart.entry)
    except UnbrickError as error:
        return Restart(REMOVE_STICK if present_medium() else NONE), error.message
    return restart, None


def present_medium() -> tuple[BlockDevice, ...]:
    return find_medium(list_block_devices())


def wait_for_removal(
    find: Callable[[], Sequence[BlockDevice]] = present_medium,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nothing that carries the medium is plugged in any more; discs are ejected."""
    ejected: set[str] = set()
    while medium := find():
        for disk in medium:
            if disk.optical and disk.name not in ejected:
                ejected.add(disk.name)
                _eject(disk.path)
        sleep(_LOOK_SECONDS)


def _eject(drive: Path) -> None:
    with suppress(OSError):
        descriptor = os.open(drive, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(descriptor, _CDROMEJECT)
        finally:
            os.close(descriptor)


def close_everything(runner: Runner) -> list[str]:
    """Stop the arrays clean, and sync every disk; sentences where one fails."""
    problems = close_arrays(list_block_devices(), runner)
    syncing = threading.Thread(target=os.sync, daemon=True)
    syncing.start()
    syncing.join(_SYNC_SECONDS)
    if syncing.is_alive():
        problems.append("a disk does not answer any more; the restart does not wait for it")
    return problems
