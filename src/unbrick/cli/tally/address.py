"""Give the tally other addresses: it moves, or has two."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import tell
from unbrick.cli.options.tally_act import acting_user
from unbrick.cli.options.tally_folder import authority_option, directory_argument


@click.command("address")
@directory_argument
@click.argument("addresses", metavar="HOST:PORT...", nargs=-1, required=True)
@authority_option
def command(directory: Path, addresses: tuple[str, ...], authority: Path | None) -> None:
    """Give the tally other addresses, which stations try in this order; its server shows itself by each.

    Name the old one too, as long as there are stations that know no other.

    Example: unbrick tally address tally new.example.org:2291 tally.example.org:2291
    """
    from unbrick.tally.folder import TallyFolder, settings_of
    from unbrick.tally.trust.audit import AuditLog
    from unbrick.tally.trust.authority import move

    settings = settings_of(addresses)
    move(directory, settings, authority=authority)
    named = ", ".join(map(str, settings.addresses))
    AuditLog(TallyFolder(directory).audit).tell("address", address=named, by=acting_user())
    tell(f"stations reach the tally at {named}, once `unbrick tally serve` is started again")
    listed = ", ".join(f'"{one}"' for one in settings.addresses)
    tell("stations that are enrolled from now on know this; in the unbrick.yaml of the others, write:")
    tell(f"  address: [{listed}]")
