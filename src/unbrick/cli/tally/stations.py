"""List the stations: since when, until when, last report, revoked or not."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from unbrick.cli.options.tally_folder import directory_argument, folder_of, look_at_store, tell

if TYPE_CHECKING:
    from unbrick.tally.trust.register import Enrolment
    from unbrick.tally.trust.stations import Visits


@click.command("stations")
@directory_argument
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def command(directory: Path, as_json: bool) -> None:
    """List every station: where, since when, by whom, its last report, its certificate's end, revoked or not.

    Keys that nobody enrolled and an import accepted are listed, too.

    Example: unbrick tally stations tally
    """
    from unbrick.tally.trust.register import StationRegister
    from unbrick.tally.trust.stations import Visits, certificates_notice

    register = StationRegister(folder_of(directory).stations)
    register.refresh()
    with look_at_store(directory) as store:
        visits = store.visits()
        decisions = store.decisions()
    discounted = {name for one in decisions if one.what == "discount" for name in one.called}
    now = datetime.now(UTC)
    rows = [(one, _visits_of(one, register.stations, visits, Visits())) for one in register.stations]
    if as_json:
        click.echo(json.dumps({"stations": [_described(one, seen, now, discounted) for one, seen in rows]}))
        return
    for one, seen in rows:
        tell(_line(one, seen, now) + ("; what it reported is not counted" if one.name in discounted else ""))
    notice = certificates_notice(register.stations, now)
    if notice:
        tell(f"! {notice}")


def _visits_of(
    station: Enrolment, stations: tuple[Enrolment, ...], visits: Mapping[str, Visits], none: Visits
) -> Visits:
    """Visits are kept by name: of several enrolments of one name, the last has them."""
    last = max((one for one in stations if one.name == station.name), key=lambda one: one.serial)
    return visits.get(station.name, none) if station is last else none


def _described(
    station: Enrolment, seen: Visits, now: datetime, discounted: Collection[str]
) -> dict[str, Any]:
    from unbrick.events.event import moment
    from unbrick.tally.trust.stations import ends_soon, held_end_of

    return {
        "name": station.name,
        "site": station.site,
        "everywhere": station.everywhere,
        "serial": station.serial,
        "enrolled": station.enrolled,
        "enrolled_by": station.by,
        "visits": seen.count,
        "last_report": moment(seen.last) if seen.last else None,
        "certificate_ends": None if station.accepted else station.expires,
        "fingerprint": station.fingerprint,
        "accepted": station.accepted,
        "accepted_reason": station.accepted_why,
        "discounted": station.name in discounted,
        "ends_soon": ends_soon(station, now),
        "ended": held_end_of(station) <= now,
        "held_certificate_ends": None if station.accepted else station.held or station.expires,
        "renewal_fetched": station.held is None,
        "days": station.days,
        "revoked": station.revoked,
        "revoked_by": station.revoked_by,
        "revoked_reason": station.revoked_why,
    }


def _line(station: Enrolment, seen: Visits, now: datetime) -> str:
    from unbrick.tally.trust.stations import ends_soon, held_end_of

    where = f"{station.site} and everywhere else" if station.everywhere else station.site
    by = f" by {station.by}" if station.by else ""
    last = f"last report {seen.last:%Y-%m-%d %H:%M} UTC" if seen.last else "no report yet"
    visits = "1 visit" if seen.count == 1 else f"{seen.count} visits"
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
