"""Put back the list of expected machines that was replaced last."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.inventory_list import replace_list, tell_counts
from unbrick.cli.options.tally_folder import (
    directory_argument,
    folder_of,
    note_deed,
    open_store,
    seen_reason,
    who_option,
    whose_word,
)
from unbrick.errors import UsageError


@click.command("restore")
@directory_argument
@click.option("--yes", is_flag=True, help="Do not ask before anything is forgotten.")
@click.option("--reason", callback=seen_reason, metavar="TEXT", help="Why, in a few words, for the audit.")
@who_option
def command(directory: Path, yes: bool, reason: str | None, who: str | None) -> None:
    """Put back the list of expected machines that `inventory import --replace` replaced last.

    The present one is kept in its turn, so that restoring again undoes this. Older ones lie beside it, as
    inventory-2.csv and so on, to be imported with --replace.

    Example: unbrick tally inventory restore tally --reason "the export was cut off"
    """
    from unbrick.tally.office.former_lists import newest_list
    from unbrick.tally.office.inventory import read_inventory

    by = whose_word(who)
    former = newest_list(folder_of(directory).path)
    if former is None:
        raise UsageError(f"no list of {directory} was replaced", hint="there is nothing to put back")
    inventory = read_inventory(former)
    with open_store(directory) as store:
        counts, kept = replace_list(store, directory, inventory, former.name, yes=yes)
    why = {"reason": reason} if reason else {}
    numbers = {"added": counts.added, "removed": counts.removed}
    note_deed(directory, "inventory restored", **numbers, former=kept.name, who=by, **why)
    tell_counts(counts, former.name)
