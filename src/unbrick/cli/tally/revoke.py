"""End the trust in a station at once, for instance when a stick is lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.consent import ask, require_consent
from unbrick.cli.options.station_list import station_documents
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument, folder_of
from unbrick.text import are, counted

if TYPE_CHECKING:
    from unbrick.tally.records import MachineRow

_MOST = 20


@click.command("revoke")
@directory_argument
@click.argument("name")
@reason_option("Why, in a few words.")
@click.option("--discount", is_flag=True, help="Take all that it reported out of the count, too.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@act_options
def command(act: Act, name: str, reason: str | None, discount: bool, yes: bool) -> None:
    """End the trust in a station at once, for instance when a stick is lost; open sessions end too.

    Reports that it signed and that have not arrived yet are refused from now on. Asks first, unless --yes;
    `unbrick tally unrevoke` takes it back. What it reported before still counts, unless --discount is given,
    now or later: then it says which machines rested on its word. NAME may also be the fingerprint of its key.

    Example: unbrick tally revoke tally stick-07 --reason "lost on the way to st-marys"
    """
    from unbrick.tally.trust.authority import find_station, number_called, was_revoked
    from unbrick.tally.trust.authority import revoke as revoke_station
    from unbrick.tally.trust.register import station_called

    require_consent(yes=yes)
    name = station_called(folder_of(act.directory).stations, name)
    if discount and was_revoked(act.directory, name):
        ask(f"Take what {name} reported out of the count?", yes=yes)
    else:
        station = find_station(act.directory, name)
        what = f"of the site {station.site}, enrolled" if station.site else f"{station.fingerprint}, accepted"
        ask(f"Revoke {name}, {what} {station.enrolled[:10]}?", yes=yes)
        why = {"reason": reason} if reason else {}
        for ended in revoke_station(act.directory, name, by=act.who_acts, why=reason):
            act.note("revoked", station=name, serial=ended.serial, who=act.who_acts, **why)
            what = ended.fingerprint if ended.accepted else f"certificate {ended.serial}"
            act.tell(f"revoked {name} ({what})")
            act.tell(f"to take it back: unbrick tally unrevoke {act.directory} {name} --reason …")
    rows: list[MachineRow] = []
    if discount and (number := number_called(act.directory, name)) > 1:
        act.tell(f"{number} stations had the name {name}: this is about the reports of all of them")
    if discount:
        because = reason or "revoked"
        with act.open_store() as store:
            rows = store.discount(name, discounted=True, reason=because, who=act.who_acts)
        act.note("discounted", station=name, machines=len(rows), who=act.who_acts, reason=because)
    act.answer(
        _lines(name, rows) if discount else (),
        lambda: {
            "station": name,
            "machines": [
                {"name": row.name, "site": row.site, "code": row.code, "was": row.status} for row in rows
            ],
            "stations": station_documents(act.directory, name),
        },
    )


def _lines(name: str, rows: Sequence[MachineRow]) -> Iterator[str]:
    number = len(rows)
    rested = f"{counted(number, 'machine')} rested on the word of {name}"
    yield f"{rested}, and {are(number)} counted without it now"
    for row in rows[:_MOST]:
        yield f"  {row.code or '-'}  {row.name}: was {row.status}"
    if number > _MOST:
        yield f"  and {number - _MOST:,} more: --json has all"
