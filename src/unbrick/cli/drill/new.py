"""Make a fleet of disks in DIR, with inventory.csv, keys.csv and truth.json."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH
from unbrick.cli.terminal.manners import say
from unbrick.drill.options import DEFAULT_INCIDENT
from unbrick.errors import UsageError

files_option = click.option(
    "--files", type=int, default=200, show_default=True, help="Ordinary files on each Windows volume."
)
size_option = click.option("--size", default="256M", show_default=True, help="Size of each disk.")
seed_option = click.option(
    "--seed", type=int, default=1, show_default=True, help="The same seed makes the same fleet."
)
playbook_option = click.option(
    "--playbook", type=PATH, metavar="FILE", help="Play the incident that a playbook of your own describes."
)
_ENCRYPTIONS = ("none", "xts-128", "xts-256")


@click.command("new")
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
@click.option(
    "--fault",
    metavar="ID|none",
    help="The incident, by its playbook's id; with none the machines have no fault."
    f"  [default: {DEFAULT_INCIDENT}]",
)
@playbook_option
@files_option
@size_option
@click.option(
    "--format",
    "image_format",
    type=click.Choice(["raw", "qcow2", "vhdx", "vmdk"]),
    default="raw",
    show_default=True,
)
@seed_option
def command(
    directory: str | None,
    machines: int,
    bitlocker: str | None,
    dirty: bool,
    crashed: bool,
    hibernated: bool,
    two_windows: bool,
    fault: str | None,
    playbook: Path | None,
    files: int,
    size: str,
    image_format: str,
    seed: int,
) -> None:
    """Make a fleet of disks in DIR, with inventory.csv, keys.csv and truth.json.

    Example: unbrick drill new practice --machines 2 --bitlocker xts-256 --two-windows
    """
    from unbrick.drill.fleet import make_fleet
    from unbrick.drill.options import (
        Encryption,
        ImageFormat,
        MachineOptions,
        chosen_incident,
        default_incident,
        fleet_of,
        parse_size,
    )
    from unbrick.processes.command import SystemRunner

    path, encryption = _split(directory, bitlocker)
    like = MachineOptions(
        "LIKE-THIS",
        seed,
        size=parse_size(size),
        files=files,
        incident=chosen_incident(fault, playbook) or default_incident(),
        spared=fault == "none",
        encryption=Encryption(encryption),
        dirty=dirty,
        crashed=crashed,
        hibernated=hibernated,
        two_windows=two_windows,
        image_format=ImageFormat(image_format),
    )
    fleet = make_fleet(path, fleet_of(machines, like), SystemRunner(), partial(say, err=True))
    for machine in fleet.machines:
        click.echo(machine.disk)


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
