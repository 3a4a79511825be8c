"""List the stations: since when, until when, last report, revoked or not."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from unbrick.cli.options.answer import json_option, tell
from unbrick.cli.options.station_list import Listed, list_stations
from unbrick.cli.options.tally_folder import directory_argument
from unbrick.text import counted


@click.command("stations")
@directory_argument
@json_option
def command(directory: Path, as_json: bool) -> None:
    """List every station: where, since when, by whom, its last report, its certificate's end, revoked or not.

    Keys that nobody enrolled and an import accepted are listed, too.

    Example: unbrick tally stations tally
    """
    from unbrick.tally.trust.stations import certificates_notice

    rows, now = list_stations(directory), datetime.now(UTC)
    if as_json:
        click.echo(json.dumps({"stations": [row.to_document(now) for row in rows]}))
        return
    for row in rows:
        tell(_line(row, now) + ("; what it reported is not counted" if row.discounted else ""))
    notice = certificates_notice([row.station for row in rows], now)
    if notice:
        tell(f"! {notice}")


def _line(row: Listed, now: datetime) -> str:
    from unbrick.tally.trust.stations import ends_soon, held_end_of

    station, seen = row.station, row.visits
    assert seen is not None
    where = f"{station.site} and everywhere else" if station.everywhere else station.site
    by = f" by {station.by}" if station.by else ""
    last = f"last report {seen.last:%Y-%m-%d %H:%M} UTC" if seen.last else "no report yet"
    visits = counted(seen.count, "visit")
    if station.revoked is not None:
        word = f" by {station.revoked_by}" if station.revoked_by else ""
        why = f" ({station.revoked_why})" if station.revoked_why else ""
        state = f"REVOKED {station.revoked[:10]}{word}{why}"
    elif station.accepted:
        state = "not enrolled; taken only where an import accepts its key"
    else:
        ends = "ends SOON" if ends_soon(station, now) else "ends"
        ends = "ENDED" if held_end_of(station) <= now else ends
        state = f"certificate {ends} {held_end_of(station):%Y-%m-%d}"
        if station.held is not None:
            state += f" (renewed until {station.expires[:10]}, not fetched yet)"
    if station.accepted:
        why = f" ({station.accepted_why})" if station.accepted_why else ""
        begun = f"key {station.fingerprint} accepted {station.enrolled[:10]}{by}{why}"
        return f"{station.name}: {state}; {visits}, {last}; {begun}"
    return f"{station.name} at {where}: {state}; {visits}, {last}; enrolled {station.enrolled[:10]}{by}"
