"""Enrol a station: makes its key and certificate."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, json_option
from unbrick.cli.options.station_list import station_documents
from unbrick.cli.options.tally_act import Act, acting_user
from unbrick.cli.options.tally_folder import authority_option, directory_argument, how_to_build

MOST_DAYS = 3653


@click.command("enrol")
@directory_argument
@click.argument("name")
@click.option("--site", required=True, help="Where the station works; every report carries it.")
@click.option(
    "--out",
    required=True,
    metavar="FOLDER",
    type=PATH,
    help="A new or empty folder for the station's key, certificate and unbrick.yaml.",
)
@click.option("--everywhere", is_flag=True, help="Let it report for any site, not only for its own.")
@click.option(
    "--days",
    type=click.IntRange(1, MOST_DAYS),
    default=731,
    show_default=True,
    help="For how many days each of its certificates lasts.",
)
@authority_option
@json_option
def command(
    directory: Path,
    name: str,
    site: str,
    out: Path,
    everywhere: bool,
    days: int,
    authority: Path | None,
    as_json: bool,
) -> None:
    """Enrol a station: makes its key and certificate.

    NAME may be none that a station had before: its reports keep the name.

    Example: unbrick tally enrol tally stick-07 --site st-marys --out stick-07
    """
    from unbrick.tally.trust.authority import enrol as enrol_station

    act = Act(directory, as_json=as_json)
    station = enrol_station(
        directory, name, site, out, everywhere=everywhere, days=days, authority=authority, by=acting_user()
    )
    act.note("enrolled", station=name, serial=station.serial)
    act.answer(
        [
            f"enrolled {name} (certificate {station.serial}, until {station.expires[:10]})",
            f"keep what is in {out} together",
            how_to_build(out),
        ],
        lambda: {"stations": station_documents(directory, name), "out": str(out)},
    )
