"""Print a systemd unit that serves the tally."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH
from unbrick.cli.options.tally_folder import directory_argument, folder_of


@click.command("unit")
@directory_argument
@click.option(
    "--user", default="tally", show_default=True, help="The account that serves; it needs no other use."
)
@click.option(
    "--authority",
    metavar="FILE",
    type=PATH,
    help="Renew certificates: systemd hands this private key to the server, whose account cannot read it.",
)
def command(directory: Path, user: str, authority: Path | None) -> None:
    """Print a systemd unit that serves the tally in DIR, with everything closed that it has no use for.

    Example: unbrick tally unit /srv/tally > /etc/systemd/system/unbrick-tally.service
    """
    from unbrick.tally.upkeep.service_unit import service_unit

    click.echo(service_unit(folder_of(directory).path, user, authority), nl=False)
