"""A virtual machine that runs: started, watched on its serial port, typed at, photographed, switched off.

It is a QEMU process of ours and dies with us. Everything it leaves lies in the folder it was given.
"""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unbrick.drill.machine.firmware_variables import FirmwareVariables
from unbrick.drill.machine.qmp import Monitor, MonitorError
from unbrick.drill.machine.serial_line import SerialLine, SerialText
from unbrick.drill.machine.shape import MachineShape
from unbrick.errors import FailedError, Reason
from unbrick.processes.command import Runner, Server

_STOP_SECONDS = 10.0
_VARIABLES = "variables.fd"
_GLANCE_SECONDS = 0.05
_KEY_MILLISECONDS = 60
_KEYS = {"-": "minus", "\n": "ret", " ": "spc", ".": "dot", "/": "slash"}


class VirtualMachine:
    """A running machine; made by `running`."""

    def __init__(self, server: Server, monitor: Monitor, serial: SerialLine, variables: Path | None) -> None:
        self._server = server
        self._monitor = monitor
        self.serial = serial
        self.variables = variables

    def is_running(self) -> bool:
        """Whether the process is there; a machine that powered off is not."""
        return self._server.poll() is None

    def wait_for(self, text: str, *, seconds: float) -> SerialText:
        """Wait for a line on the serial port; see `SerialLine.wait_for`."""
        return self.serial.wait_for(text, seconds=seconds, alive=self.is_running)

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

    def wait_for_power_off(self, *, seconds: float) -> None:
        """Wait until the machine has switched itself off."""
        self.wait_until(lambda: not self.is_running(), seconds=seconds, what="it powers off")
        self.serial.read()

    def has_reset(self) -> bool:
        """Whether the machine was reset, by itself, since it was started or since `forget_reset`."""
        return self._monitor.has_happened("RESET")

    def forget_reset(self) -> None:
        """Ask anew from now on."""
        self._monitor.forget("RESET")

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by QEMU's names for them: `ret`, `down`, `kp_5`."""
        for key in keys:
            down = [{"type": "qcode", "data": key}]
            self._monitor.execute("send-key", keys=down, **{"hold-time": _KEY_MILLISECONDS})
            time.sleep(_KEY_MILLISECONDS * 2 / 1000)

    def press_together(self, *keys: str) -> None:
        """Press keys at once, by QEMU's names for them: `ctrl`, `alt`, `delete`."""
        down = [{"type": "qcode", "data": key} for key in keys]
        self._monitor.execute("send-key", keys=down, **{"hold-time": _KEY_MILLISECONDS})
        time.sleep(_KEY_MILLISECONDS * 2 / 1000)

    def type(self, text: str) -> None:
        """Type digits, small letters, `-` and line ends on the keyboard."""
        self.press(*(_KEYS.get(letter, letter) for letter in text))

    def photograph(self, file: Path) -> None:
        """Write what the screen shows as a PNG file."""
        self._monitor.execute("screendump", filename=str(file.absolute()), format="png")

    def plug_in(self, name: str, image: Path) -> None:
        """Put a stick in, as a hand does; `name` is none that the machine has."""
        file = {"driver": "file", "filename": str(image.absolute())}
        self._monitor.execute("blockdev-add", driver="raw", file=file, **{"node-name": name})
        self._monitor.execute("device_add", driver="usb-storage", id=name, drive=name, removable=True)

    def unplug(self, name: str) -> None:
        """Pull a drive that can be pulled, as a hand does: without asking."""
        self._monitor.forget("DEVICE_DELETED")
        self._monitor.execute("device_del", id=name)
        self.wait_until(
            lambda: self._monitor.has_happened("DEVICE_DELETED"), seconds=60, what=f"{name} is unplugged"
        )

    def slow_down(self, name: str, requests_a_second: int) -> None:
        """Have a drive answer no more than so many requests a second from now on; 0: as many as it can."""
        drives = self._monitor.execute("query-block")
        device = next(one["qdev"] for one in drives if one.get("inserted", {}).get("node-name") == name)
        limits = {"bps": 0, "bps_rd": 0, "bps_wr": 0, "iops": requests_a_second, "iops_rd": 0, "iops_wr": 0}
        self._monitor.execute("block_set_io_throttle", id=device, **limits)

    def cut_power(self) -> None:
        """End at once, whatever the machine is doing; what it wrote is in its images."""
        try:
            self._monitor.execute("quit")
        except MonitorError:  # it may be gone before it answers
            pass
        finally:
            self._server.stop(_STOP_SECONDS)


def factory_variables(shape: MachineShape, folder: Path) -> FirmwareVariables:
    """Variables as from the factory for the machine that will run in `folder`; not for a legacy BIOS."""
    factory = shape.firmware.variables
    if factory is None:
        raise FailedError("a legacy BIOS has no variables")
    shutil.copyfile(factory, folder / _VARIABLES)
    return FirmwareVariables(folder / _VARIABLES)


@contextmanager
def running(
    shape: MachineShape, folder: Path, runner: Runner, *, pass_fds: Sequence[int] = ()
) -> Iterator[VirtualMachine]:
    """Start a machine; it is off when the block is left. `pass_fds` are descriptors that `shape` speaks of.

    `folder` gets `serial.log` and, unless they are there from a run before, the firmware's variables as from
    the factory. Raises MissingToolError, and FailedError where it does not come up.
    """
    flash = folder / _VARIABLES if shape.firmware.variables is not None else None
    if flash is not None and not flash.exists():
        factory_variables(shape, folder)
    serial = folder / "serial.log"
    serial.unlink(missing_ok=True)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        argv = shape.command_line(variables=flash, serial=serial, monitor=theirs.fileno())
        server = runner.start(argv, pass_fds=(theirs.fileno(), *pass_fds))
        theirs.close()
        try:
            yield VirtualMachine(server, _monitor(ours, server), SerialLine(serial), flash)
        finally:
            server.stop(_STOP_SECONDS)


def _monitor(connection: socket.socket, server: Server) -> Monitor:
    monitor = Monitor(connection)
    try:
        monitor.greet()
    except MonitorError as error:
        server.stop(_STOP_SECONDS)
        said = server.read_error().decode(errors="replace").strip()
        raise FailedError(f"the virtual machine did not start: {said[-500:] or error}") from error
    return monitor
