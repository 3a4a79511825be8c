"""Makes a simulated machine ready to be switched on: the stand-in on its disk, its firmware, the stick."""

from __future__ import annotations

import uuid
from pathlib import Path

from unbrick.drill.disk.machine_disk import MadeMachine
from unbrick.drill.disk.partition import Role, plan_layout
from unbrick.drill.fleet import serial_number
from unbrick.drill.machine.boot_entries import load_option, set_boot_order, windows_entry
from unbrick.drill.machine.shape import Bus, Drive, Firmware, MachineShape, Network
from unbrick.drill.machine.stand_in import SignedLoader, install_stand_in
from unbrick.drill.machine.virtual_machine import factory_variables
from unbrick.drill.options import dice
from unbrick.processes.command import Runner

WINDOWS_ENTRY = 0x0010
STICK_ENTRY = 0x0011
HOST = "10.0.2.2"
"""The address of this computer's 127.0.0.1 in the machine: QEMU's user network."""
_TIMEOUT = 120.0
_ON_THE_MEDIUM = {"shimx64.efi": "/netboot/shimx64.efi", "grubx64.efi": "/netboot/grubnetx64.efi"}


def loader_of_medium(medium: Path, folder: Path, runner: Runner) -> SignedLoader:
    """Take Debian's signed shim and GRUB from a medium into the new `folder`."""
    folder.mkdir(parents=True)
    argv = ["xorriso", "-osirrox", "on", "-indev", str(medium)]
    for name, path in _ON_THE_MEDIUM.items():
        argv += ["-extract", path, str(folder / name)]
    runner.run(argv, timeout=_TIMEOUT)
    return SignedLoader(folder / "shimx64.efi", folder / "grubx64.efi")


def make_ready(
    machine: MadeMachine, stick: Path, loader: SignedLoader, folder: Path, runner: Runner
) -> MachineShape:
    """The machine with the stick plugged in, which starts from it with Secure Boot on.

    The existing `folder` gets its firmware's variables.
    """
    layout = plan_layout(machine.options)
    (esp,) = layout.of(Role.ESP)
    install_stand_in(machine.disk, esp.offset, loader, runner, folder)
    random = dice(machine.options.seed, machine.options.name, "board")
    shape = MachineShape(
        Firmware.SECURE_BOOT,
        (Drive(machine.disk, Bus.NVME, "disk"), Drive(stick, Bus.STICK, "stick")),
        network=Network(),
        uuid=uuid.UUID(bytes=random.randbytes(16), version=4),
        serial_number=serial_number(machine.options),
    )
    variables = factory_variables(shape, folder)
    entries = {
        WINDOWS_ENTRY: windows_entry(layout, esp),
        STICK_ENTRY: load_option("UEFI USB stick", shape.stick_path()),
    }
    set_boot_order(variables, entries, (STICK_ENTRY, WINDOWS_ENTRY))
    variables.save()
    return shape
