"""`unbrick tally revoke`: ends the trust in a station."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.consent import ask, require_consent
from unbrick.cli.tally.folder import acting_user, directory_argument, note, tell


@click.command("revoke")
@directory_argument
@click.argument("name")
@click.option("--reason", metavar="TEXT", help="Why, in a few words.")
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(directory: Path, name: str, reason: str | None, yes: bool) -> None:
    """End the trust in a station at once, for instance when a stick is lost; open sessions end too.

    Reports that it signed and that have not arrived yet are refused from now on. Asks first, unless --yes;
    `unbrick tally unrevoke` takes it back.

    Example: unbrick tally revoke tally stick-07 --reason "lost on the way to st-marys"
    """
    from unbrick.tally.authority import find_station
    from unbrick.tally.authority import revoke as revoke_station

    require_consent(yes=yes)
    station = find_station(directory, name)
    ask(f"Revoke {name}, of the site {station.site}, enrolled {station.enrolled[:10]}?", yes=yes)
    for ended in revoke_station(directory, name, by=acting_user(), why=reason):
        note(directory, "revoked", name, ended.serial, **({"reason": reason} if reason else {}))
        tell(f"revoked {name} (certificate {ended.serial})")
        tell(f"to take it back: unbrick tally unrevoke {directory} {name} --reason …")
