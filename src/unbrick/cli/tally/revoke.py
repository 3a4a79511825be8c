"""`unbrick tally revoke`: ends the trust in a station."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.folder import directory_argument, note, tell


@click.command("revoke")
@directory_argument
@click.argument("name")
def command(directory: Path, name: str) -> None:
    """End the trust in a station at once, for instance when a stick is lost; open sessions end too.

    Reports that it signed and that have not arrived yet are refused from now on.

    Example: unbrick tally revoke tally stick-07
    """
    from unbrick.tally.authority import revoke as revoke_station

    for station in revoke_station(directory, name):
        note(directory, "revoked", name, station.serial)
        tell(f"revoked {name} (certificate {station.serial})")
