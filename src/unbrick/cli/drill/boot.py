"""Switch on a bricked BitLocker machine with the boot medium in it, and watch it being brought back."""

from __future__ import annotations

import shlex
import sys
import tempfile
from functools import partial
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH
from unbrick.cli.terminal.manners import say


@click.command("boot")
@click.argument("directory", metavar="[DIR]", type=PATH, required=False)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same machine.")
def command(directory: Path | None, seed: int) -> None:
    """Switch on a bricked BitLocker machine with the boot medium in it, and watch it being brought back.

    The machine is a virtual one (QEMU, emulated) with Secure Boot on; the medium is built as `unbrick media
    build` does it; a tally on this computer counts the machine; a signed loader stands in for Windows. DIR
    must be new or empty; without it a folder is made, and named at the end. Exit code 0 means that the tally
    counted the machine as repaired, and that the stand-in was really started, with Secure Boot on.

    Example: unbrick drill boot
    """
    from unbrick.drill.fleet import claim_folder
    from unbrick.drill.switch_on import switch_machine_on
    from unbrick.model import Status

    path = (directory or Path(tempfile.mkdtemp(prefix="unbrick-drill-"))).absolute()
    claim_folder(path)
    ended = switch_machine_on(path, seed, partial(say, err=True))
    disk, keys = shlex.quote(str(ended.fleet.machines[0].disk)), shlex.quote(str(ended.fleet.keys))
    click.echo(f"\nLook into it: {path}")
    click.echo(f"What is on its disk now: unbrick diagnose {disk} --keys {keys}")
    click.echo(f"Counted by the tally: {click.style(ended.counted or 'nothing', bold=True)}")
    if ended.windows_is_back:
        click.echo("Windows (a stand-in) started, Secure Boot on")
    else:
        said = ended.started or "nothing came over its serial port"
        click.echo(click.style(f"Windows (a stand-in) did not start: {said}", fg="red"))
    sys.exit(0 if ended.windows_is_back and ended.counted == Status.REPAIRED else 1)
