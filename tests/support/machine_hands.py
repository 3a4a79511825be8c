"""What a person does to a virtual machine, and sees of it, beside typing: sticks, power, photographs."""

from __future__ import annotations

import time
from pathlib import Path

from unbrick.drill.machine.qmp import MonitorError
from unbrick.drill.machine.virtual_machine import VirtualMachine

_STOP_SECONDS = 10.0
_KEY_MILLISECONDS = 60


def wait_for_power_off(machine: VirtualMachine, *, seconds: float) -> None:
    """Wait until the machine has switched itself off."""
    machine.wait_until(lambda: not machine.is_running(), seconds=seconds, what="it powers off")
    machine.serial.read()


def has_reset(machine: VirtualMachine) -> bool:
    """Whether the machine was reset, by itself, since it was started."""
    return machine.monitor.has_happened("RESET")


def press_together(machine: VirtualMachine, *keys: str) -> None:
    """Press keys at once, by QEMU's names for them: `ctrl`, `alt`, `delete`."""
    down = [{"type": "qcode", "data": key} for key in keys]
    machine.monitor.execute("send-key", keys=down, **{"hold-time": _KEY_MILLISECONDS})
    time.sleep(_KEY_MILLISECONDS * 2 / 1000)


def photograph(machine: VirtualMachine, file: Path) -> None:
    """Write what the screen shows as a PNG file."""
    machine.monitor.execute("screendump", filename=str(file.absolute()), format="png")


def plug_in(machine: VirtualMachine, name: str, image: Path) -> None:
    """Put a stick in, as a hand does; `name` is none that the machine has."""
    file = {"driver": "file", "filename": str(image.absolute())}
    machine.monitor.execute("blockdev-add", driver="raw", file=file, **{"node-name": name})
    machine.monitor.execute("device_add", driver="usb-storage", id=name, drive=name, removable=True)


def unplug(machine: VirtualMachine, name: str) -> None:
    """Pull a drive that can be pulled, as a hand does: without asking."""
    machine.monitor.forget("DEVICE_DELETED")
    machine.monitor.execute("device_del", id=name)
    machine.wait_until(
        lambda: machine.monitor.has_happened("DEVICE_DELETED"), seconds=60, what=f"{name} is unplugged"
    )


def slow_down(machine: VirtualMachine, name: str, requests_a_second: int) -> None:
    """Have a drive answer no more than so many requests a second from now on; 0: as many as it can."""
    drives = machine.monitor.execute("query-block")
    device = next(one["qdev"] for one in drives if one.get("inserted", {}).get("node-name") == name)
    limits = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": requests_a_second, "iops_rd": 0, "iops_wr": 0}
    machine.monitor.execute("block_set_io_throttle", id=device, **limits)


def cut_power(machine: VirtualMachine) -> None:
    """End at once, whatever the machine is doing; what it wrote is in its images."""
    try:
        machine.monitor.execute("quit")
    except MonitorError:  # it may be gone before it answers
        pass
    finally:
        machine.server.stop(_STOP_SECONDS)
