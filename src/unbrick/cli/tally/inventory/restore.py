"""Put back the list of expected machines that was replaced last."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import json_option
from unbrick.cli.options.inventory_list import answer_counts, replace_list
from unbrick.cli.options.tally_act import Act, reason_option, who_option, whose_word
from unbrick.cli.options.tally_folder import directory_argument, folder_of, open_store
from unbrick.errors import UsageError


@click.command("restore")
@directory_argument
@click.option("--yes", is_flag=True, help="Do not ask before anything is forgotten.")
@reason_option("Why, in a few words, for the audit.")
@who_option
@json_option
def command(directory: Path, yes: bool, reason: str | None, who: str | None, as_json: bool) -> None:
    """Put back the list of expected machines that `inventory import --replace` replaced last.

    The present one is kept in its turn, so that restoring again undoes this. Older ones lie beside it, as
    inventory-2.csv and so on, to be imported with --replace.

    Example: unbrick tally inventory restore tally --reason "the export was cut off"
    """
    from unbrick.tally.office.former_lists import newest_list
    from unbrick.tally.office.inventory import read_inventory

    act, by = Act(directory, as_json=as_json), whose_word(who)
    former = newest_list(folder_of(directory).path)
    if former is None:
        raise UsageError(f"no list of {directory} was replaced", hint="there is nothing to put back")
    inventory = read_inventory(former)
    with open_store(directory) as store:
        counts, kept = replace_list(store, act, directory, inventory, former.name, yes=yes)
    why = {"reason": reason} if reason else {}
    numbers = {"added": counts.added, "removed": counts.removed}
    act.note("inventory restored", **numbers, former=kept.name, who=by, **why)
    answer_counts(act, counts, former.name, kept)
