"""A virtual machine that runs: started, watched on its serial port, typed at, switched off.

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
        self.server = server
        self.monitor = monitor
        self.serial = serial
        self.variables = variables

    def is_running(self) -> bool:
        return self.server.poll() is None

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

    def press(self, *keys: str) -> None:
        """Press keys one after the other, by QEMU's names for them: `ret`, `down`, `kp_5`."""
        for key in keys:
            down = [{"type": "qcode", "data": key}]
            self.monitor.execute("send-key", keys=down, **{"hold-time": _KEY_MILLISECONDS})
            time.sleep(_KEY_MILLISECONDS * 2 / 1000)

    def type(self, text: str) -> None:
        """Type digits, small letters, `-` and line ends on the keyboard."""
        self.press(*(_KEYS.get(letter, letter) for letter in text))


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
