"""A drill with a machine that is switched on: the medium boots it, repairs it, and restarts it into Windows.

The machine is virtual, and a signed loader stands in for Windows; all else is real.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unbrick.drill.fleet import Fleet, make_fleet
from unbrick.drill.machine.boot import HOST, loader_of_medium, make_ready
from unbrick.drill.machine.shape import MachineShape
from unbrick.drill.machine.stand_in import SECURE, STARTED
from unbrick.drill.machine.virtual_machine import VirtualMachine, running
from unbrick.drill.options import Encryption, FleetOptions, MachineOptions
from unbrick.drill.tally import DrillTally, drill_tally
from unbrick.errors import FailedError
from unbrick.model import Status
from unbrick.processes.command import SystemRunner
from unbrick.text import printable

Tell = Callable[[str], None]

_MACHINE = "RECEPTION-1"
_BUILD_SECONDS = 1800.0
_RUN_SECONDS = 900.0
_STOP_SECONDS = 10.0
_LAST_REPORTS_SECONDS = 30.0
_PAUSE_SECONDS = 0.1
_STARTS = 3
_PANIC = "Kernel panic"
_STATION_FILES = ("station", "station-cert.pub")


@dataclass(frozen=True)
class SwitchedOn:
    """`started` is the line by which the stand-in said that it was started, `counted` the tally's status."""

    fleet: Fleet
    started: str | None
    counted: str | None

    @property
    def windows_is_back(self) -> bool:
        return self.started is not None and SECURE in self.started


def switch_machine_on(folder: Path, seed: int, tell: Tell) -> SwitchedOn:
    """Make the machine, the tally and the medium in `folder`, and switch the machine on."""
    runner = SystemRunner()
    options = MachineOptions(_MACHINE, seed, "BitLocker", encryption=Encryption.XTS_128)
    tell(f"A machine that a bad update has bricked, its disk encrypted with BitLocker, in {folder}:")
    fleet = make_fleet(
        folder / "fleet", FleetOptions((options,), seed), runner, lambda line: tell(f"  {line}")
    )
    with drill_tally(folder / "tally", fleet.inventory, runner, seen_at=HOST) as tally:
        _write_settings(folder / "settings", tally, fleet.keys)
        image = _build(folder / "unbrick.iso", folder / "settings" / "unbrick.yaml", runner, tell)
        machine = folder / "machine"
        machine.mkdir()
        loader = loader_of_medium(image, folder / "loader", runner)
        shape = make_ready(fleet.machines[0], image, loader, machine, runner)
        tell("\nSwitching the machine on, Secure Boot enforcing Microsoft's keys. Its serial port:")
        started = _boot(shape, machine, runner, tell)
        counted = _counted(tally)
    return SwitchedOn(fleet, started, counted)


def _write_settings(folder: Path, tally: DrillTally, keys: Path) -> None:
    """The medium's settings: the tally, this station's key, and the escrow of recovery passwords."""
    folder.mkdir()
    for name in _STATION_FILES:
        shutil.copy(tally.folder / name, folder / name)
    shutil.copy(keys, folder / "keys.csv")
    text = tally.station.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith(("mode:", "finish:", "keys:"))]
    kept += ["mode: unattended", "finish: restart", "keys: [keys.csv]"]
    (folder / "unbrick.yaml").write_text("\n".join(kept) + "\n", encoding="utf-8")


def _build(image: Path, settings: Path, runner: SystemRunner, tell: Tell) -> Path:
    # As an administrator would type it.
    shown = ["media", "build", "--out", image.name, "--station", "settings/unbrick.yaml"]
    tell(f"\nunbrick {shlex.join(shown)}")
    arguments = ["media", "build", "--out", str(image), "--station", str(settings)]
    # A program of ours starts with a clean environment, and would keep its cache elsewhere.
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    build = runner.start(["env", f"XDG_CACHE_HOME={cache}", sys.executable, "-m", "unbrick", *arguments])
    said = 0
    try:
        deadline = time.monotonic() + _BUILD_SECONDS
        while (code := build.poll()) is None:
            said = _pass_on(build.read_error(), said, tell)
            if time.monotonic() > deadline:
                raise FailedError(f"the medium was not built within {_BUILD_SECONDS:g} s")
            time.sleep(_PAUSE_SECONDS)
    finally:
        build.stop(_STOP_SECONDS)
    _pass_on(build.read_error(), said, tell)
    if code != 0:
        raise FailedError("the medium could not be built", hint="the lines above say why")
    return image


def _pass_on(text: bytes, said: int, tell: Tell) -> int:
    """Show the whole lines behind the first `said` bytes; the bytes that have been shown then."""
    end = text.rfind(b"\n") + 1
    for line in text[said:end].splitlines():
        tell(f"  {printable(line.decode(errors='replace'))}")
    return max(said, end)


def _boot(shape: MachineShape, folder: Path, runner: SystemRunner, tell: Tell) -> str | None:
    """Show what the machine says, with the seconds since it was switched on; how the stand-in started."""
    # The emulated processor fails a kernel now and then in its first second: then it is switched on again.
    for _ in range(_STARTS):
        on = time.monotonic()
        with running(shape, folder, runner) as machine:
            said = _watch(machine, on, tell)
        if said is None or _PANIC not in said:
            return said
        tell("  The emulated processor failed; switching the machine on again.")
    return None


def _watch(machine: VirtualMachine, on: float, tell: Tell) -> str | None:
    """The line by which the stand-in said that it was started, or that of a failing kernel, if any."""
    deadline = time.monotonic() + _RUN_SECONDS
    while time.monotonic() < deadline:
        alive = machine.is_running()
        for line in machine.serial.read():
            text = line.text[line.text.find("unbrick: ") :] if "unbrick: " in line.text else line.text
            if text.startswith(("unbrick: ", "stand-in: ", "BdsDxe: starting")):
                tell(f"  {line.at - on:6.1f} s  {printable(text)}")
            if STARTED in text or _PANIC in text:
                return text
        if not alive:
            return None
        time.sleep(_PAUSE_SECONDS)
    for said in machine.serial.tail().splitlines():
        tell(printable(said))
    raise FailedError(
        f"the machine did not come back within {_RUN_SECONDS:g} s", hint="its last lines are above"
    )


def _counted(tally: DrillTally) -> str | None:
    """The status of the only machine at the tally; its last report may still be on its way."""
    deadline = time.monotonic() + _LAST_REPORTS_SECONDS
    while (status := tally.counted().get(_MACHINE)) != Status.REPAIRED and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECONDS)
    return status
