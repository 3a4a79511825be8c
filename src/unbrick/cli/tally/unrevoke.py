"""Trust a station again that was revoked."""

from __future__ import annotations

import click

from unbrick.cli.options.machines import machine_documents
from unbrick.cli.options.station_list import station_documents
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument, folder_of
from unbrick.text import counted


@click.command("unrevoke")
@directory_argument
@click.argument("name")
@reason_option("Why, in a few words; it is written into the audit.", required=True)
@click.option(
    "--trust-gap",
    is_flag=True,
    help="It was in good hands all the time: what it signed while it was revoked counts also.",
)
@act_options
def command(act: Act, name: str, reason: str, trust_gap: bool) -> None:
    """Trust a station again that was revoked, with the key and the certificate that it has.

    What arrived while it was revoked was refused and stays so. What arrives later and is dated in that time,
    by the machine's clock, is refused too, unless --trust-gap is given, now or later.

    Example: unbrick tally unrevoke tally stick-07 --reason "it was found in the car"
    """
    from unbrick.errors import UsageError
    from unbrick.tally.trust.authority import find_station, unrevoke
    from unbrick.tally.trust.register import station_called

    name = station_called(folder_of(act.directory).stations, name)
    try:
        station = unrevoke(act.directory, name, trust_gap=trust_gap)
    except UsageError:
        # An earlier unbrick enrolled another station under a name whose reports do not count.
        if not _is_discounted(act, name):
            raise
        station = find_station(act.directory, name)
    gap = "trusted" if trust_gap else "refused"
    act.note("unrevoked", station=name, serial=station.serial, who=act.who_acts, reason=reason, gap=gap)
    lines = []
    with act.open_store() as store:
        back = store.discount(name, discounted=False, reason=reason, who=act.who_acts)
        if back:
            act.note("counted-again", station=name, machines=len(back), who=act.who_acts, reason=reason)
            change = "changes" if len(back) == 1 else "change"
            lines.append(f"what it reported counts again: {counted(len(back), 'machine')} {change}")
        if station.accepted:
            key = station.fingerprint
            lines.append(f"{name} ({key}) may be accepted again: unbrick tally import --accept-key")
        else:
            ends = station.expires[:10]
            lines.append(f"{name} is trusted again (certificate {station.serial}, until {ends})")
        if trust_gap:
            refused = "what was refused meanwhile lies in outbox/refused on the stick"
            lines.append(f"{refused}; unbrick tally import takes it")
        elif station.gaps:
            begin, end = station.gaps[-1]
            lines.append(
                f"what it signed from {begin[:16]}Z to {end[:16]}Z stays refused; --trust-gap would take it"
            )
        act.answer(
            lines,
            lambda: {
                "stations": station_documents(act.directory, name),
                "machines": machine_documents(store, back),
            },
        )


def _is_discounted(act: Act, name: str) -> bool:
    with act.open_store() as store:
        return any(one.what == "discount" and name in one.called for one in store.decisions())
