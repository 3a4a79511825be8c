"""A machine of a test that is switched on: its disks with the stand-in for Windows, its firmware, its stick.

What its disks hold is judged as in the other tests, by readers that share nothing with a repair. The truth of
the EFI partition is taken anew once the stand-in is on it: from then on nothing may change there.
"""

from __future__ import annotations

import dataclasses
import shutil
import struct
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.drilled import Drilled, Drills
from support.machine_hands import WatchedMachine, photograph

from unbrick.drill.disk.partition import Layout, Partition, Role
from unbrick.drill.disk.truth import sha256_of
from unbrick.drill.machine.boot_entries import END, load_option, node, pci_path, set_boot_order, windows_entry
from unbrick.drill.machine.firmware_variables import GLOBAL, FirmwareVariables, Variable
from unbrick.drill.machine.shape import Bus, Drive, Firmware, MachineShape
from unbrick.drill.machine.stand_in import BY_BIOS, SECURE, STARTED, SignedLoader, install_stand_in
from unbrick.drill.machine.virtual_machine import factory_variables, running
from unbrick.processes.command import SystemRunner

RUNNER = SystemRunner()
WINDOWS_ENTRY, MEDIUM_ENTRY = 0x10, 0x11
BOOT_SECONDS = 300.0
REPAIR_SECONDS = 400.0
FIRST = "unbrick: first program started"
STICK = "stick"
_STARTS = 3
_LOOK_SECONDS = 4.0
_PANIC = "Kernel panic"
_SECTOR = 512
SHIM = uuid.UUID("605dab50-e046-4300-abb6-3dd810dd8b23")
"""The vendor of the variables that shim keeps, `SbatLevel` among them."""


@dataclasses.dataclass(frozen=True)
class BootDisk:
    """A drill disk that a machine can start from."""

    drilled: Drilled
    layout: Layout

    @property
    def image(self) -> Path:
        """The raw disk."""
        return self.drilled.image

    @property
    def esp(self) -> Partition:
        """Its EFI system partition."""
        return self.layout.of(Role.ESP)[0]


def boot_disk(drills: Drills, kind: str, folder: Path, loader: SignedLoader) -> BootDisk:
    """A copy of a drill disk in the new `folder`, with the stand-in on it."""
    return with_stand_in(drills.copy(kind, folder / "disk"), folder, loader)


def with_stand_in(drilled: Drilled, folder: Path, loader: SignedLoader) -> BootDisk:
    """That disk, with the stand-in on it; `folder` takes what is needed to make it."""
    (part,) = (one for one in drilled.truth.untouched if one["role"] == Role.ESP.value)
    workdir = folder / "stand-in-files"
    workdir.mkdir()
    install_stand_in(drilled.image, part["offset"], loader, RUNNER, workdir)
    untouched = tuple(
        {**one, "sha256": sha256_of(drilled.image, one["offset"], one["length"])}
        for one in drilled.truth.untouched
    )
    drilled = dataclasses.replace(drilled, truth=dataclasses.replace(drilled.truth, untouched=untouched))
    with drilled.image.open("rb") as stream:
        stream.seek(_SECTOR + 56)  # UEFI specification, 5.3: the GUID of the disk, and of its first partition
        disk_guid = uuid.UUID(bytes_le=stream.read(16))
        stream.seek(2 * _SECTOR + (part["partition"] - 1) * 128 + 16)
        guid = uuid.UUID(bytes_le=stream.read(16))
    esp = Partition(part["partition"], Role.ESP, guid, part["offset"], part["length"])
    return BootDisk(drilled, Layout(drilled.image.stat().st_size, _SECTOR, disk_guid, (esp,)))


@dataclasses.dataclass(frozen=True)
class Machine:
    """A machine with its parts, ready to be switched on any number of times; all of it lies in `folder`."""

    folder: Path
    shape: MachineShape
    disks: tuple[BootDisk, ...]

    @contextmanager
    def on(self, pass_fds: Sequence[int] = (), *, until: str | None = FIRST) -> Iterator[WatchedMachine]:
        """Switch it on, and wait until it says `until`; its serial port's words stay in its folder.

        QEMU's emulated processor fails a kernel now and then in its first second, which is no fault of ours:
        then it is switched on again, and nothing has happened yet.
        """
        flash, kept = self.folder / "variables.fd", self.folder / "variables.kept"
        if flash.exists():
            shutil.copyfile(flash, kept)
        for left in reversed(range(_STARTS)):
            with running(self.shape, self.folder, RUNNER, pass_fds=pass_fds) as started:
                machine = WatchedMachine(started)
                if left and until is not None and not _comes_up(machine, until):
                    if kept.exists():
                        shutil.copyfile(kept, flash)
                    continue
                yield machine
                return

    def variables(self) -> Mapping[tuple[uuid.UUID, str], Variable]:
        """The firmware's variables as they are in its flash now."""
        return FirmwareVariables(self.folder / "variables.fd").all()

    def complaints(self, *, repaired: bool = True) -> list[str]:
        """What on any disk is not as its truth has it."""
        return [one for disk in self.disks for one in disk.drilled.complaints(repaired=repaired)]


def _comes_up(machine: WatchedMachine, text: str) -> bool:
    """Whether the machine says so before its kernel fails."""
    machine.wait_until(
        lambda: machine.said(text) or machine.said(_PANIC) or not machine.is_running(),
        seconds=BOOT_SECONDS,
        what=f"it says {text!r}",
    )
    return machine.said(text) or not machine.said(_PANIC)


def make_machine(
    folder: Path,
    drives: Sequence[tuple[BootDisk, Bus]],
    *,
    medium: Drive | None,
    firmware: Firmware = Firmware.SECURE_BOOT,
    windows_entry_of: int | None = 0,
    write_log: Path | None = None,
    **properties: Any,
) -> Machine:
    """A machine that starts from the medium, be it a stick or a CD, and from its disk when that is gone.

    `windows_entry_of` is the number of the disk to which the firmware's entry "Windows Boot Manager" leads;
    None: there is no such entry. `write_log` logs what is written to the first disk. `properties` are those
    of `MachineShape`.
    """
    if write_log is not None:
        write_log.touch()
    disks = tuple(
        Drive(disk.image, bus, f"disk{number}", write_log=None if number else write_log)
        for number, (disk, bus) in enumerate(drives)
    )
    inserted = (medium,) if medium else ()
    first = medium.name if medium else None
    shape = MachineShape(firmware, (*disks, *inserted), first=first, **properties)
    folder.mkdir(parents=True, exist_ok=True)
    machine = Machine(folder, shape, tuple(disk for disk, _ in drives))
    if firmware is not Firmware.BIOS:
        _set_entries(machine, medium, windows_entry_of)
    return machine


def sata_path(port: int) -> bytes:
    """Whatever boots on a drive at a port of the q35 board's AHCI controller, an optical one too."""
    return pci_path(0x1F, 2) + node(3, 18, struct.pack("<HHH", port, 0xFFFF, 0)) + END


def _set_entries(machine: Machine, medium: Drive | None, windows_entry_of: int | None) -> None:
    shape = machine.shape
    variables = factory_variables(shape, machine.folder)
    entries: dict[int, bytes] = {}
    if medium is not None:
        path = shape.stick_path() if medium.bus is Bus.STICK else sata_path(shape.sata_port(medium.name))
        entries[MEDIUM_ENTRY] = load_option("The medium", path)
    elif shape.network is not None:
        http = shape.network.http
        entries[MEDIUM_ENTRY] = load_option("The network", shape.network_path(http=http))
    if windows_entry_of is not None:
        disk = machine.disks[windows_entry_of]
        entries[WINDOWS_ENTRY] = windows_entry(disk.layout, disk.esp)
    order = tuple(number for number in (MEDIUM_ENTRY, WINDOWS_ENTRY) if number in entries)
    set_boot_order(variables, entries, order)
    variables.save()


def stick(image: Path) -> Drive:
    """A stick; what is written to it stays on `image`."""
    return Drive(image, Bus.STICK, STICK)


def wait_for_windows(machine: WatchedMachine, seconds: float = REPAIR_SECONDS) -> None:
    """Until the stand-in says that it was started, Secure Boot on."""
    line = machine.wait_for(STARTED, seconds=seconds)
    assert SECURE in line.text, line.text


def wait_for_windows_by_bios(machine: WatchedMachine, seconds: float = REPAIR_SECONDS) -> None:
    """Until the stand-in says that a legacy BIOS started it."""
    machine.wait_for(BY_BIOS, seconds=seconds)


def look(machine: WatchedMachine, file: Path) -> None:
    """Look as a person does: what is pressed before a question can be seen is no answer to it."""
    time.sleep(_LOOK_SECONDS)
    photograph(machine, file)


def changed(
    before: Mapping[tuple[uuid.UUID, str], Variable], after: Mapping[tuple[uuid.UUID, str], Variable]
) -> set[str]:
    """The names of firmware variables that are not the same; others than UEFI's own with their vendor."""
    keys = {key for key in (*before, *after) if before.get(key) != after.get(key)}
    return {name if vendor == GLOBAL else f"{vendor}:{name}" for vendor, name in keys}
