"""`unbrick tally enrol`: a new station."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.folder import acting_user, directory_argument, note, tell, tell_how_to_build


@click.command("enrol")
@directory_argument
@click.argument("name")
@click.option("--site", required=True, help="Where the station works; every report carries it.")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="A new or empty folder for the station's key, certificate and unbrick.yaml.",
)
@click.option("--everywhere", is_flag=True, help="Let it report for any site, not only for its own.")
def command(directory: Path, name: str, site: str, out: Path, everywhere: bool) -> None:
    """Enrol a station: makes its key and certificate, for two years.

    Example: unbrick tally enrol tally stick-07 --site st-marys --out stick-07
    """
    from unbrick.tally.authority import enrol as enrol_station

    station = enrol_station(directory, name, site, out, everywhere=everywhere, by=acting_user())
    note(directory, "enrolled", name, station.serial)
    tell(f"enrolled {name} (certificate {station.serial}, until {station.expires[:10]})")
    tell(f"keep what is in {out} together")
    tell_how_to_build(out)
