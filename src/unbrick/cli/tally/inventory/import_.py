"""Take the list of expected machines, so that "not yet seen" is a number."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import PATH, warn
from unbrick.cli.options.inventory_list import LIST_WORDS, answer_counts, replace_list
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument
from unbrick.errors import UsageError

if TYPE_CHECKING:
    from unbrick.tally.office.inventory_headings import Columns

_MOST_HEADINGS = 20


@click.command("import")
@directory_argument
@click.argument("file", metavar="CSV", type=PATH)
@click.option(
    "--replace",
    "replacing",
    is_flag=True,
    help="CSV is the whole list: forget what it does not name, unless a machine reported or was marked.",
)
@click.option("--empty", is_flag=True, help="With --replace: CSV may name no machine at all.")
@click.option("--yes", is_flag=True, help="With --replace: do not ask before anything is forgotten.")
@reason_option("Why, in a few words, for the audit.")
@act_options
def command(act: Act, file: Path, replacing: bool, empty: bool, yes: bool, reason: str | None) -> None:
    """Take the list of expected machines, so that "not yet seen" is a number.

    CSV is what a tool exported: its columns are known by the usual headings in several languages, and what
    became of each is said. What it has no cell for stays as it was known. Of lines that contradict each
    other both are named, and what was known, else the first, counts. The list that another one replaces is
    kept: `unbrick tally inventory restore` puts it back.

    Example: unbrick tally inventory import tally inventory.csv
    """
    from unbrick.tally.office.inventory import read_inventory

    facts = {"who": act.who}
    if reason:
        facts["reason"] = reason
    former = None
    with act.open_store() as store:
        inventory = read_inventory(file)
        warn(_columns(file.name, inventory.columns))
        if replacing and not inventory.lines and not empty:
            raise UsageError(
                f"{file.name} names no machine, and would empty the list",
                hint="where that is meant, add --empty",
            )
        if replacing:
            counts, former = replace_list(store, act, inventory, file.name, yes=yes)
            facts["former"] = former.name
        else:
            counts = store.take_inventory(inventory)
    numbers = {"added": counts.added, "removed": counts.removed}
    act.note("inventory imported", file=file.name, **numbers, **facts)
    answer_counts(act, counts, file.name, former)
    if counts.bad or counts.contradicting:
        click.get_current_context().exit(1)


def _columns(name: str, columns: Columns) -> str:
    used = [
        f'"{heading}" is the {LIST_WORDS.get(column, column)}' for column, heading in columns.headings.items()
    ]
    if not columns.ignored:
        return f"{name}: {', '.join(used)}"
    ignored = [f'"{heading}"' for heading in columns.ignored[:_MOST_HEADINGS]]
    if len(columns.ignored) > _MOST_HEADINGS:
        ignored.append(f"and {len(columns.ignored) - _MOST_HEADINGS} more")
    return f"{name}: {', '.join(used)}; not used: {', '.join(ignored)}"
