"""End the trust in a station at once, for instance when a stick is lost."""

from __future__ import annotations

import json
from pathlib import Path

import click

from unbrick.cli.options.consent import ask, require_consent
from unbrick.cli.options.tally_folder import (
    acting_user,
    directory_argument,
    folder_of,
    note,
    note_deed,
    open_store,
    seen_reason,
    tell,
)

_MOST = 20


@click.command("revoke")
@directory_argument
@click.argument("name")
@click.option("--reason", callback=seen_reason, metavar="TEXT", help="Why, in a few words.")
@click.option("--discount", is_flag=True, help="Take all that it reported out of the count, too.")
@click.option(
    "--json", "as_json", is_flag=True, help="The machines that are counted without its word, as JSON."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def command(directory: Path, name: str, reason: str | None, discount: bool, as_json: bool, yes: bool) -> None:
    """End the trust in a station at once, for instance when a stick is lost; open sessions end too.

    Reports that it signed and that have not arrived yet are refused from now on. Asks first, unless --yes;
    `unbrick tally unrevoke` takes it back. What it reported before still counts, unless --discount is given,
    now or later: then it says which machines rested on its word. NAME may also be the fingerprint of its key.

    Example: unbrick tally revoke tally stick-07 --reason "lost on the way to st-marys"
    """
    from unbrick.tally.trust.authority import find_station, was_revoked
    from unbrick.tally.trust.authority import revoke as revoke_station
    from unbrick.tally.trust.register import station_called

    require_consent(yes=yes)
    name = station_called(folder_of(directory).stations, name)
    if discount and was_revoked(directory, name):
        ask(f"Take what {name} reported out of the count?", yes=yes)
        _discount(directory, name, reason or "revoked", as_json=as_json)
        return
    station = find_station(directory, name)
    which = f"of the site {station.site}, enrolled" if station.site else f"{station.fingerprint}, accepted"
    ask(f"Revoke {name}, {which} {station.enrolled[:10]}?", yes=yes)
    for ended in revoke_station(directory, name, by=acting_user(), why=reason):
        note(directory, "revoked", name, ended.serial, **({"reason": reason} if reason else {}))
        if not as_json:
            what = ended.fingerprint if ended.accepted else f"certificate {ended.serial}"
            tell(f"revoked {name} ({what})")
            tell(f"to take it back: unbrick tally unrevoke {directory} {name} --reason …")
    if discount:
        _discount(directory, name, reason or "revoked", as_json=as_json)
    elif as_json:
        click.echo(json.dumps({"station": name, "machines": []}))


def _discount(directory: Path, name: str, reason: str, *, as_json: bool) -> None:
    with open_store(directory) as store:
        rows = store.discount(name, discounted=True, reason=reason, who=acting_user())
    note_deed(directory, "discounted", station=name, machines=len(rows), reason=reason)
    if as_json:
        found = [{"name": row.name, "site": row.site, "code": row.code, "was": row.status} for row in rows]
        click.echo(json.dumps({"station": name, "machines": found}))
        return
    tell(f"{len(rows):,} machines rested on the word of {name}, and are counted without it now")
    for row in rows[:_MOST]:
        tell(f"  {row.code or '-'}  {row.name}: was {row.status}")
    if len(rows) > _MOST:
        tell(f"  and {len(rows) - _MOST:,} more: --json has all")
