"""Make a tally: its authority, host key, first station and unbrick.yaml."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, tell
from unbrick.cli.options.tally_act import acting_user
from unbrick.cli.options.tally_folder import directory_argument, how_to_build


@click.command("init")
@directory_argument
@click.option(
    "--address",
    "addresses",
    metavar="HOST:PORT",
    multiple=True,
    help="Where stations reach it, tried in this order; without it 127.0.0.1:2291 (practice).",
)
@click.option("--site", default="main", show_default=True, help="The site of the first station.")
@click.option(
    "--authority",
    metavar="FOLDER",
    type=PATH,
    help="Keep the authority's private key there, not in DIR/authority; one that lies there is used.",
)
def command(directory: Path, addresses: tuple[str, ...], site: str, authority: Path | None) -> None:
    """Make a tally in DIR (new or empty): its authority, host key, first station and unbrick.yaml.

    Example: unbrick tally init tally --address tally.example.org:2291
    """
    from unbrick.tally.folder import DEFAULT_ADDRESS, settings_of
    from unbrick.tally.store.store import Store
    from unbrick.tally.trust.authority import create_authority

    settings = settings_of(addresses or (DEFAULT_ADDRESS,))
    create_authority(
        directory,
        settings.address,
        others=settings.others,
        site=site,
        authority=authority,
        by=acting_user(),
        make_database=lambda database: Store.open(database).close(),
    )
    tell(f"made a tally in {directory}; stations will reach it at {', '.join(map(str, settings.addresses))}")
    if settings.is_loopback:
        tell("  that address is this computer only: for real stations, make one with --address HOST:PORT")
    tell(f"start it: unbrick tally serve {directory}")
    if site == "main":
        tell("its first station counts at every site; one that is enrolled later counts at its own")
    tell("to every computer that repairs disks, copy these three files side by side:")
    for name in ("unbrick.yaml", "station", "station-cert.pub"):
        tell(f"  {directory / name}")
    tell(f"then: unbrick repair DISK --station {directory / 'unbrick.yaml'}")
    tell(how_to_build(directory))
    tell(
        f"keep {authority or directory / 'authority'} secret: whoever has it can enrol stations; nothing else"
    )
    tell("  needs it, so another account, or a stick in a drawer, may have it")
    tell(f"back up, also while it is served: unbrick tally backup {directory} FOLDER")
