"""A virtual machine that runs: a QEMU process that dies with us, with its files in one folder."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from unbrick.drill.machine.firmware_variables import FirmwareVariables
from unbrick.drill.machine.qmp import Monitor, MonitorError
from unbrick.drill.machine.serial_line import SerialLine
from unbrick.drill.machine.shape import MachineShape
from unbrick.errors import FailedError
from unbrick.processes.command import Runner, Server

_STOP_SECONDS = 10.0
_VARIABLES = "variables.fd"


class VirtualMachine:
    """A running machine; made by `running`."""

    def __init__(self, server: Server, monitor: Monitor, serial: SerialLine) -> None:
        self.server = server
        self.monitor = monitor
        self.serial = serial

    def is_running(self) -> bool:
        return self.server.poll() is None


def factory_variables(shape: MachineShape, folder: Path) -> FirmwareVariables:
    """New variables for the machine that will run in `folder`; a legacy BIOS has none."""
    factory = shape.firmware.variables
    if factory is None:
        raise FailedError("a legacy BIOS has no variables")
    shutil.copyfile(factory, folder / _VARIABLES)
    return FirmwareVariables(folder / _VARIABLES)


@contextmanager
def running(
    shape: MachineShape, folder: Path, runner: Runner, *, pass_fds: Sequence[int] = ()
) -> Iterator[VirtualMachine]:
    """Start a machine, which is off after the block; `pass_fds` are descriptors that `shape` names.

    `folder` gets `serial.log` and, unless it has them, the firmware's variables as from the factory. Raises
    MissingToolError, and FailedError where the machine does not come up.
    """
    flash = folder / _VARIABLES if shape.firmware.variables is not None else None
    if flash is not None and not flash.exists():
        factory_variables(shape, folder)
    serial = folder / "serial.log"
    serial.unlink(missing_ok=True)
    own, other = socket.socketpair()
    with own, other:
        argv = shape.command_line(variables=flash, serial=serial, monitor=other.fileno())
        server = runner.start(argv, pass_fds=(other.fileno(), *pass_fds))
        other.close()
        try:
            yield VirtualMachine(server, _monitor(own, server), SerialLine(serial))
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
