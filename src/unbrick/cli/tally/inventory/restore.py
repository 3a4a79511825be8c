"""Put back the list of expected machines that was replaced last."""

from __future__ import annotations

import click

from unbrick.cli.options.inventory_list import answer_counts, replace_list
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument, folder_of
from unbrick.errors import UsageError


@click.command("restore")
@directory_argument
@click.option("--yes", is_flag=True, help="Do not ask before anything is forgotten.")
@reason_option("Why, in a few words, for the audit.")
@act_options
def command(act: Act, yes: bool, reason: str | None) -> None:
    """Put back the list of expected machines that `inventory import --replace` replaced last.

    The present one is kept in its turn, so that restoring again undoes this. Older ones lie beside it, as
    inventory-2.csv and so on, to be imported with --replace.

    Example: unbrick tally inventory restore tally --reason "the export was cut off"
    """
    from unbrick.tally.office.former_lists import newest_list
    from unbrick.tally.office.inventory import read_inventory

    former = newest_list(folder_of(act.directory).path)
    if former is None:
        raise UsageError(f"no list of {act.directory} was replaced", hint="there is nothing to put back")
    inventory = read_inventory(former)
    with act.open_store() as store:
        counts, kept = replace_list(store, act, inventory, former.name, yes=yes)
    why = {"reason": reason} if reason else {}
    numbers = {"added": counts.added, "removed": counts.removed}
    act.note("inventory restored", **numbers, former=kept.name, who=act.who, **why)
    answer_counts(act, counts, former.name, kept)
