"""What a person does to a virtual machine, and sees of it: keys, sticks, power, photographs, its words."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from unbrick.drill.machine.qmp import MonitorError
from unbrick.drill.machine.serial_line import SerialText
from unbrick.drill.machine.virtual_machine import VirtualMachine
from unbrick.errors import FailedError, Reason

_STOP_SECONDS = 10.0
_GLANCE_SECONDS = 0.05
_KEY_MILLISECONDS = 60
_KEYS = {"-": "minus", "\n": "ret", " ": "spc", ".": "dot", "/": "slash"}


class WatchedMachine(VirtualMachine):
    """A running machine that is watched and typed at."""

    def __init__(self, machine: VirtualMachine) -> None:
        super().__init__(machine.server, machine.monitor, machine.serial)
        self._waited = 0

    def said(self, text: str) -> bool:
        """Whether any line on the serial port so far contains `text`."""
        self.serial.read()
        return any(text in line.text for line in self.serial.lines)

    def wait_for(self, text: str, *, seconds: float) -> SerialText:
        """Wait for a line on the serial port that contains `text`, after the one that was waited for last.

        Raises FailedError when it does not come within `seconds`, or when the machine ended before.
        """
        deadline = time.monotonic() + seconds
        while True:
            running = self.is_running()
            self.serial.read()
            for index in range(self._waited, len(self.serial.lines)):
                if text in self.serial.lines[index].text:
                    self._waited = index + 1
                    return self.serial.lines[index]
            if not running or time.monotonic() > deadline:
                why = f"not within {seconds:g} s" if running else "the machine ended before"
                raise FailedError(
                    f"the machine never said {text!r} ({why}); its last lines:\n{self.serial.tail()}",
                    reason=Reason.TIMED_OUT,
                )
            time.sleep(_GLANCE_SECONDS)

    def wait_until(self, condition: Callable[[], bool], *, seconds: float, what: str) -> None:
        """Wait until something is so; raises FailedError with the last lines of the serial port."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise FailedError(
                    f"not within {seconds:g} s: {what}; the machine's last lines:\n{self.serial.tail()}",
                    reason=Reason.TIMED_OUT,
                )
            self.serial.read()
            time.sleep(_GLANCE_SECONDS)

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by QEMU's names for them: `ret`, `down`, `kp_5`."""
        for key in keys:
            press_together(self, key)

    def type(self, text: str) -> None:
        """Type digits, small letters, `-` and line ends on the keyboard."""
        self.press(*(_KEYS.get(letter, letter) for letter in text))

    def has_happened(self, event: str) -> bool:
        """Whether an event (`RESET`, `SHUTDOWN`, `DEVICE_DELETED`) has come since the last `forget`."""
        with suppress(MonitorError):  # gone: what came before that still counts
            while self.monitor.read(time.monotonic()) is not None:
                pass
        return any(one["event"] == event for one in self.monitor.events)

    def forget(self, event: str) -> None:
        """Wait for that event anew from now on."""
        self.has_happened(event)
        self.monitor.events = [one for one in self.monitor.events if one["event"] != event]


def wait_for_power_off(machine: WatchedMachine, *, seconds: float) -> None:
    """Wait until the machine has switched itself off."""
    machine.wait_until(lambda: not machine.is_running(), seconds=seconds, what="it powers off")
    machine.serial.read()


def has_reset(machine: WatchedMachine) -> bool:
    """Whether the machine was reset, by itself, since it was started."""
    return machine.has_happened("RESET")


def press_together(machine: WatchedMachine, *keys: str) -> None:
    """Press keys at once, by QEMU's names for them: `ctrl`, `alt`, `delete`."""
    down = [{"type": "qcode", "data": key} for key in keys]
    machine.monitor.execute("send-key", keys=down, **{"hold-time": _KEY_MILLISECONDS})
    time.sleep(_KEY_MILLISECONDS * 2 / 1000)


def photograph(machine: WatchedMachine, file: Path) -> None:
    """Write what the screen shows as a PNG file."""
    machine.monitor.execute("screendump", filename=str(file.absolute()), format="png")


def plug_in(machine: WatchedMachine, name: str, image: Path) -> None:
    """Put a stick in, as a hand does; `name` is none that the machine has."""
    file = {"driver": "file", "filename": str(image.absolute())}
    machine.monitor.execute("blockdev-add", driver="raw", file=file, **{"node-name": name})
    machine.monitor.execute("device_add", driver="usb-storage", id=name, drive=name, removable=True)


def unplug(machine: WatchedMachine, name: str) -> None:
    """Pull a drive that can be pulled, as a hand does: without asking."""
    machine.forget("DEVICE_DELETED")
    machine.monitor.execute("device_del", id=name)
    machine.wait_until(
        lambda: machine.has_happened("DEVICE_DELETED"), seconds=60, what=f"{name} is unplugged"
    )


def slow_down(machine: WatchedMachine, name: str, requests_a_second: int) -> None:
    """Have a drive answer no more than so many requests a second from now on; 0: as many as it can."""
    drives = machine.monitor.execute("query-block")
    device = next(one["qdev"] for one in drives if one.get("inserted", {}).get("node-name") == name)
    limits = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": requests_a_second, "iops_rd": 0, "iops_wr": 0}
    machine.monitor.execute("block_set_io_throttle", id=device, **limits)


def cut_power(machine: WatchedMachine) -> None:
    """End at once, whatever the machine is doing; what it wrote is in its images."""
    try:
        machine.monitor.execute("quit")
    except MonitorError:  # it may be gone before it answers
        pass
    finally:
        machine.server.stop(_STOP_SECONDS)
