"""Give a station a new certificate, which it fetches in its next session."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, json_option
from unbrick.cli.options.station_list import station_documents
from unbrick.cli.options.tally_act import Act
from unbrick.cli.options.tally_folder import authority_option, directory_argument
from unbrick.cli.tally.enrol import MOST_DAYS


@click.command("renew")
@directory_argument
@click.argument("name")
@click.option(
    "--days", type=click.IntRange(1, MOST_DAYS), help="For how many days from now, and from now on."
)
@click.option(
    "--out",
    metavar="FILE",
    type=PATH,
    help="Write it into a new FILE as well, to be carried to a station whose certificate has ended.",
)
@authority_option
@json_option
def command(
    directory: Path, name: str, days: int | None, out: Path | None, authority: Path | None, as_json: bool
) -> None:
    """Give a station a new certificate for the key that it has; it fetches it in its next session.

    Without --days it is valid as long as the station was enrolled for. `unbrick tally serve --authority` does
    the same by itself, in time.

    Example: unbrick tally renew tally stick-07
    """
    from unbrick.errors import UsageError
    from unbrick.files import atomic_write
    from unbrick.tally.new_places import errors_named
    from unbrick.tally.trust.authority import renew

    if out is not None and out.exists():
        raise UsageError(f"{out} exists already", hint="name a new file")
    act = Act(directory, as_json=as_json)
    station = renew(directory, name, days=days, authority=authority)
    act.note("renewed", station=name, serial=station.serial, until=station.expires)
    act.tell(f"{name} has a new certificate, until {station.expires[:10]}; it fetches it in its next session")
    lines = []
    if out is not None:
        with errors_named(out):
            atomic_write(out, f"{station.certificate}\n".encode(), mode=0o644)
        lines.append(f"it is also in {out}: put it in the place of the station's certificate")
    act.answer(
        lines, lambda: {"stations": station_documents(directory, name), "out": str(out) if out else None}
    )
