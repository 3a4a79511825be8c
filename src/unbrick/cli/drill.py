"""`unbrick drill`: make a simulated bricked fleet, and recover it."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.wording import styled_status
from unbrick.errors import UsageError
from unbrick.model import Action, ActionState, DiskReport

if TYPE_CHECKING:
    from unbrick.drill.fleet import Fleet
    from unbrick.drill.machine import MadeMachine

_ENCRYPTIONS = ("none", "xts-128", "xts-256")


@click.group("drill")
def command() -> None:
    """Practise on simulated machines, made with real NTFS and real BitLocker.

    Example: unbrick drill new practice --machines 3 --bitlocker xts-128
    """


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _split(directory: str | None, bitlocker: str | None) -> tuple[Path, str]:
    """`--bitlocker` may stand alone: what follows it may then be the folder."""
    encryption = bitlocker or "none"
    if encryption not in _ENCRYPTIONS:
        if directory is not None:
            raise UsageError(f"unknown encryption {encryption!r}", hint=f"one of {', '.join(_ENCRYPTIONS)}")
        directory, encryption = encryption, "xts-128"
    if directory is None:
        raise UsageError("name a new or empty folder for the fleet", hint="unbrick drill new DIR")
    return Path(directory), encryption


@command.command("new")
@click.argument("directory", metavar="DIR", required=False)
@click.option("--machines", type=int, default=1, show_default=True, help="How many machines.")
@click.option(
    "--bitlocker",
    is_flag=False,
    flag_value="xts-128",
    metavar="[none|xts-128|xts-256]",
    help="Encrypt the Windows volumes; alone it means xts-128.",
)
@click.option("--dirty", is_flag=True, help="The volume is marked dirty.")
@click.option("--crashed", is_flag=True, help="Windows left an open journal with nothing pending.")
@click.option("--hibernated", is_flag=True, help="Windows is hibernated.")
@click.option("--two-windows", is_flag=True, help="Two Windows on each disk.")
@click.option("--fault", default="crowdstrike-cf291", show_default=True, metavar="PLAYBOOK|none")
@click.option(
    "--files", type=int, default=200, show_default=True, help="Ordinary files on each Windows volume."
)
@click.option("--size", default="256M", show_default=True, help="Size of each disk.")
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["raw", "qcow2", "vhdx", "vmdk"]),
    default="raw",
    show_default=True,
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet.")
def new(
    directory: str | None,
    machines: int,
    bitlocker: str | None,
    dirty: bool,
    crashed: bool,
    hibernated: bool,
    two_windows: bool,
    fault: str,
    files: int,
    size: str,
    image_format: str,
    seed: int,
) -> None:
    """Make a fleet of disks in DIR, with inventory.csv, keys.csv and truth.json.

    Example: unbrick drill new practice --machines 2 --bitlocker xts-256 --two-windows
    """
    from unbrick.command import SystemRunner
    from unbrick.drill.fleet import make_fleet
    from unbrick.drill.options import Encryption, ImageFormat, fleet_options, parse_size

    path, encryption = _split(directory, bitlocker)
    options = fleet_options(
        machines,
        seed=seed,
        size=parse_size(size),
        files=files,
        fault=None if fault == "none" else fault,
        encryption=Encryption(encryption),
        dirty=dirty,
        crashed=crashed,
        hibernated=hibernated,
        two_windows=two_windows,
        image_format=ImageFormat(image_format),
    )
    fleet = make_fleet(path, options, SystemRunner(), _tell)
    for machine in fleet.machines:
        click.echo(machine.disk)


@command.command("run")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option(
    "--files", type=int, default=200, show_default=True, help="Ordinary files on each Windows volume."
)
@click.option("--size", default="256M", show_default=True, help="Size of each disk.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet.")
def run(directory: Path | None, files: int, size: str, seed: int) -> None:
    """Make the standard fleet of eight machines and recover every disk of it with the real tools.

    DIR must be new or empty; without it a folder is made, and named at the end. Exit code 0 means that
    every machine ended as it should.

    Example: unbrick drill run
    """
    from unbrick.command import SystemRunner
    from unbrick.drill.fleet import make_fleet
    from unbrick.drill.options import FleetOptions, parse_size, standard_fleet

    path = directory or Path(tempfile.mkdtemp(prefix="unbrick-drill-"))
    options = FleetOptions(standard_fleet(seed, parse_size(size), files), seed)
    _tell(f"A bricked fleet of {len(options.machines)} machines, made with real NTFS and real BitLocker:")
    fleet = make_fleet(path, options, SystemRunner(), lambda line: _tell(f"  {line}"))
    results = [_recover(fleet, machine) for machine in fleet.machines]
    _show_table(results)
    click.echo(f"\nLook into it: {fleet.directory}")
    click.echo(f"Take one back: unbrick undo {results[0].machine.disk} --yes")
    sys.exit(0 if all(result.as_expected for result in results) else 1)


@dataclass(frozen=True)
class _Result:
    machine: MadeMachine
    report: DiskReport
    seconds: float

    @property
    def as_expected(self) -> bool:
        return self.report.status is self.machine.options.expected


def _recover(fleet: Fleet, machine: MadeMachine) -> _Result:
    """Recover one disk exactly as `unbrick repair DISK --keys keys.csv --yes` would."""
    from unbrick.cli.disk_work import open_keys, recover_isolated
    from unbrick.recovery import Goal, Order

    _tell(f"\nunbrick repair {machine.disk.name} --keys {fleet.keys.name} --yes")
    started = time.monotonic()
    keys = open_keys((str(fleet.keys),), ask_person=False)
    report = recover_isolated(Order(machine.disk, Goal.REPAIR), keys)
    seconds = time.monotonic() - started
    for action in _moved(report):
        _tell(f"  moved to quarantine: {action.path}")
    if report.error:
        _tell(f"  {report.error}")
    _tell(f"  {styled_status(report.status)} in {seconds:.1f} s")
    return _Result(machine, report, seconds)


def _moved(report: DiskReport) -> list[Action]:
    actions = (action for one in report.installations for action in one.actions)
    return [action for action in actions if action.state is ActionState.DONE]


def _show_table(results: list[_Result]) -> None:
    from collections import Counter

    from rich.console import Console
    from rich.table import Table

    from unbrick.cli.wording import COLOUR

    table = Table(title="The fleet", title_justify="left")
    for heading in ("machine", "what it was", "status", "reason", "files moved", "seconds"):
        table.add_column(heading, justify="right" if heading in {"files moved", "seconds"} else "left")
    for result in results:
        status = result.report.status
        moved = len(_moved(result.report))
        surprise = "" if result.as_expected else f" (expected {result.machine.options.expected.value})"
        table.add_row(
            ", ".join(result.report.machine.hostnames) or result.machine.options.name,
            result.machine.options.scenario,
            f"[{COLOUR[status]}]{status.value}[/]{surprise}",
            result.report.reason or "",
            str(moved or ""),
            f"{result.seconds:.1f}",
        )
    counts = Counter(result.report.status.value for result in results)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print()
    console.print(table)
    console.print(f"{len(results)} machines: " + ", ".join(f"{n} {word}" for word, n in counts.items()))
