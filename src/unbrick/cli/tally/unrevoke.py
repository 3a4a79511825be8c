"""Trust a station again that was revoked."""

from __future__ import annotations

from pathlib import Path

import click

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


@click.command("unrevoke")
@directory_argument
@click.argument("name")
@click.option(
    "--reason", callback=seen_reason, required=True, help="Why, in a few words; it is written into the audit."
)
@click.option(
    "--trust-gap",
    is_flag=True,
    help="It was in good hands all the time: what it signed while it was revoked counts also.",
)
def command(directory: Path, name: str, reason: str, trust_gap: bool) -> None:
    """Trust a station again that was revoked, with the key and the certificate that it has.

    What arrived while it was revoked was refused and stays so. What arrives later and is dated in that time,
    by the machine's clock, is refused too, unless --trust-gap is given, now or later.

    Example: unbrick tally unrevoke tally stick-07 --reason "it was found in the car"
    """
    from unbrick.errors import UsageError
    from unbrick.tally.trust.authority import unrevoke
    from unbrick.tally.trust.register import station_called

    if not reason.strip():
        raise UsageError(
            "to trust a station again needs a reason", hint="say in a few words why: --reason TEXT"
        )
    name = station_called(folder_of(directory).stations, name)
    station = unrevoke(directory, name, trust_gap=trust_gap)
    note(
        directory, "unrevoked", name, station.serial, reason=reason, gap="trusted" if trust_gap else "refused"
    )
    with open_store(directory) as store:
        back = store.discount(name, discounted=False, reason=reason, who=acting_user())
    if back:
        note_deed(directory, "counted-again", station=name, machines=len(back), reason=reason)
        tell(f"what it reported counts again: {len(back):,} machines change")
    if station.accepted:
        tell(f"{name} ({station.fingerprint}) may be accepted again: unbrick tally import --accept-key")
    else:
        tell(f"{name} is trusted again (certificate {station.serial}, until {station.expires[:10]})")
    if trust_gap:
        tell("what was refused meanwhile lies in outbox/refused on the stick; unbrick tally import takes it")
    else:
        begin, end = station.gaps[-1]
        tell(f"what it signed from {begin[:16]}Z to {end[:16]}Z stays refused; --trust-gap would take it")
