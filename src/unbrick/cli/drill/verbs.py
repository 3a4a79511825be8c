"""`unbrick drill`: make a simulated bricked fleet, and recover it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click

from unbrick.cli.terminal.manners import say
from unbrick.drill.options import DEFAULT_INCIDENT
from unbrick.errors import UsageError
from unbrick.incidents.collection import Collection
from unbrick.incidents.library import find_playbook, load_library
from unbrick.incidents.loader import read_playbook_file
from unbrick.incidents.playbook import Playbook

_ENCRYPTIONS = ("none", "xts-128", "xts-256")


@click.group("drill")
def command() -> None:
    """Practise on simulated machines, made with real NTFS and real BitLocker.

    Example: unbrick drill new practice --machines 3 --bitlocker xts-128
    """


def _tell(line: str) -> None:
    say(line, err=True)


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


def _incident(fault: str | None, file: Path | None) -> Playbook | None:
    """The playbook that is to be played; None is the drill's own choice."""
    named = fault if fault != "none" else None
    if file is not None and named is not None:
        raise UsageError("--fault and --playbook both name an incident", hint="give one of them")
    if file is not None:
        return Collection().add(read_playbook_file(file), str(file))
    return find_playbook(load_library(), named) if named else None


playbook_option = click.option(
    "--playbook",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Play the incident that a playbook of your own describes.",
)


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
@click.option(
    "--fault",
    metavar="ID|none",
    help="The incident, by its playbook's id; with none the machines have no fault."
    f"  [default: {DEFAULT_INCIDENT}]",
)
@playbook_option
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
    from unbrick.drill.options import Encryption, ImageFormat, fleet_options, parse_size
    from unbrick.processes.command import SystemRunner

    path, encryption = _split(directory, bitlocker)
    options = fleet_options(
        machines,
        seed=seed,
        size=parse_size(size),
        files=files,
        incident=_incident(fault, playbook),
        spared=fault == "none",
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
@playbook_option
def run(directory: Path | None, files: int, size: str, seed: int, playbook: Path | None) -> None:
    """Make the standard fleet of eight machines, recover every disk of it, and count them with a tally.

    Real tools, the real command, and a real tally on this computer, whose dashboard is live on a terminal of
    80 × 24 or more. DIR must be new or empty; without it a folder is made, and named at the end. Exit code 0
    means that every machine ended as it should, and that the tally counted just that.

    Example: unbrick drill run
    """
    from unbrick.cli.drill.run import run_drill
    from unbrick.drill.fleet import make_fleet
    from unbrick.drill.options import FleetOptions, parse_size, standard_fleet
    from unbrick.processes.command import SystemRunner

    path = directory or Path(tempfile.mkdtemp(prefix="unbrick-drill-"))
    incident = _incident(None, playbook)
    options = FleetOptions(standard_fleet(seed, parse_size(size), files, incident), seed)
    _tell(f"A bricked fleet of {len(options.machines)} machines, made with real NTFS and real BitLocker:")
    fleet = make_fleet(path, options, SystemRunner(), lambda line: _tell(f"  {line}"))
    sys.exit(run_drill(fleet, playbook))


@command.command("boot")
@click.argument("directory", metavar="[DIR]", type=click.Path(path_type=Path), required=False)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same machine.")
def boot(directory: Path | None, seed: int) -> None:
    """Switch on a bricked BitLocker machine with the boot medium in it, and watch it being brought back.

    The machine is a virtual one (QEMU, emulated) with Secure Boot on; the medium is built as `unbrick media
    build` does it; a tally on this computer counts the machine; a signed loader stands in for Windows. DIR
    must be new or empty; without it a folder is made, and named at the end. Exit code 0 means that the tally
    counted the machine as repaired, and that the stand-in was really started, with Secure Boot on.

    Example: unbrick drill boot
    """
    from unbrick.cli.drill.boot import run_boot_drill
    from unbrick.drill.fleet import claim_folder

    path = (directory or Path(tempfile.mkdtemp(prefix="unbrick-drill-"))).absolute()
    claim_folder(path)
    sys.exit(run_boot_drill(path, seed))
