"""Makes a fleet of simulated machines, in one folder.

It holds an image for each machine, `inventory.csv`, `keys.csv` (the escrow: a repair may know no other
password) and `truth.json` (what must go, and all that must stay). Nothing outside the folder is written.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unbrick.drill.contents.faults import unplayed_rules
from unbrick.drill.disk.machine_disk import MadeMachine, make_machine
from unbrick.drill.disk.partition import Role, plan_layout
from unbrick.drill.disk.truth import VolumeTruth
from unbrick.drill.disk.windows_volume import bitlocker_settings, check_playable
from unbrick.drill.options import FleetOptions, MachineOptions, dice
from unbrick.errors import FailedError, UsageError
from unbrick.files import atomic_write
from unbrick.processes.command import Runner
from unbrick.processes.isolation import run_isolated

INVENTORY = "inventory.csv"
KEYS = "keys.csv"
TRUTH = "truth.json"
_TRUTH_FORMAT = 1
_SITES = ("st-marys", "elm-road", "harbour", "north-clinic")
_SERVICES = ("emergency", "pharmacy", "outpatients", "administration", "laboratory")
_OWNERS = ("A. Brown", "B. Okafor", "C. Weber", "D. Ismail", "E. Martin")


@dataclass(frozen=True)
class Fleet:
    """A fleet as it was made, and its files."""

    directory: Path
    machines: tuple[MadeMachine, ...]
    inventory: Path
    keys: Path
    truth: Path


def make_fleet(
    directory: Path, options: FleetOptions, runner: Runner, progress: Callable[[str], None]
) -> Fleet:
    """Make every machine and the files that belong to the fleet; `progress` gets one line a machine.

    Each machine is made in a mount namespace of its own. Raises UsageError where the folder is not new or
    empty or a fault cannot be played, and FailedError where a tool fails.
    """
    _check_incidents(options.machines, progress)
    # Absolute, because the programs that fill it are started elsewhere.
    directory = directory.absolute()
    claim_folder(directory)
    made = []
    for number, machine in enumerate(options.machines, start=1):
        progress(f"making {machine.name} ({machine.scenario}), {number} of {len(options.machines)}")
        made.append(_make_isolated(machine, directory, runner))
    fleet = Fleet(directory, tuple(made), directory / INVENTORY, directory / KEYS, directory / TRUTH)
    atomic_write(fleet.inventory, _inventory(options).encode(), mode=0o644)
    atomic_write(fleet.keys, _escrow(options.machines))
    atomic_write(fleet.truth, _truth_document(fleet, options).encode(), mode=0o644)
    return fleet


def _check_incidents(machines: Sequence[MachineOptions], progress: Callable[[str], None]) -> None:
    """Raise UnplayableError where an incident cannot be played; reports single rules that cannot."""
    checked: set[tuple[str, int, bool, bool]] = set()
    for machine in machines:
        shape = (machine.incident.id, machine.variant % 4, machine.spared, machine.two_windows)
        if shape not in checked:
            check_playable(machine)
            checked.add(shape)
    for incident in {machine.incident.id: machine.incident for machine in machines}.values():
        for number, why in unplayed_rules(incident, dice(incident.id)).items():
            progress(f"rule {number} of {incident.id} is not played: {why}")


def _make_isolated(machine: MachineOptions, directory: Path, runner: Runner) -> MadeMachine:
    def work(workdir: Path) -> MadeMachine:
        try:
            return make_machine(machine, directory, runner, workdir)
        except OSError as error:
            raise FailedError(f"{machine.name} could not be made: {error}") from error

    return run_isolated(work)


def claim_folder(directory: Path) -> None:
    """Make the folder of a drill, or be sure that it is empty; raises UsageError."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        taken = any(directory.iterdir())
    except OSError as error:
        raise UsageError(f"{directory} cannot be used for a drill: {error.strerror}") from error
    if taken:
        raise UsageError(f"{directory} is not empty", hint="give a folder that is new or empty")


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue()


def serial_number(machine: MachineOptions) -> str:
    return f"PF{dice(machine.seed, machine.name, 'serial').randrange(36**5):06d}"


def _inventory(options: FleetOptions) -> str:
    rows = []
    for machine in options.machines:
        rng = dice(options.seed, machine.name, "inventory")
        priority = str(rng.randrange(1, 5))
        site, service, owner = rng.choice(_SITES), rng.choice(_SERVICES), rng.choice(_OWNERS)
        rows.append((machine.name, serial_number(machine), site, service, priority, owner))
    return _table(("name", "serial", "site", "service", "priority", "owner"), rows)


def _escrow(machines: Iterable[MachineOptions]) -> bytes:
    """The one file that recovery passwords are meant to be written to."""
    rows = []
    for machine in machines:
        layout = plan_layout(machine)
        for order in range(len(layout.of(Role.WINDOWS))):
            locked = bitlocker_settings(machine, layout, order)
            if locked and machine.key_in_escrow:
                rows.append((locked.protector_id, locked.recovery_password.reveal().decode()))
    return _table(("KeyID", "RecoveryKey"), rows).encode()


def _truth_document(fleet: Fleet, options: FleetOptions) -> str:
    """JSON with one file of a volume on each line, so that people can look into it."""
    head = {"format": _TRUTH_FORMAT, "seed": options.seed}
    parts = []
    for machine in fleet.machines:
        document: dict[str, Any] = {
            "name": machine.options.name,
            "scenario": machine.options.scenario,
            "disk": machine.disk.name,
            "disk_guid": machine.disk_guid,
            "expected": machine.options.expected.value,
            "options": {**vars(machine.options), "incident": machine.options.incident.id},
            "untouched": [vars(part) for part in machine.untouched],
        }
        volumes = ",\n".join(_volume_text(volume) for volume in machine.volumes)
        parts.append(f'{json.dumps(document)[:-1]}, "volumes": [\n{volumes}]}}')
    machines = ",\n".join(parts)
    return f'{json.dumps(head)[:-1]}, "machines": [\n{machines}]}}\n'


def _volume_text(volume: VolumeTruth) -> str:
    document = {name: value for name, value in vars(volume).items() if name != "files"}
    files = ",\n".join(json.dumps(vars(file), ensure_ascii=False) for file in volume.files)
    return f'{json.dumps(document)[:-1]}, "files": [\n{files}]}}'
