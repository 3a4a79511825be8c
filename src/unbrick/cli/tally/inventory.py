"""`unbrick tally inventory`: the machines that are expected."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.manners import say
from unbrick.cli.tally.folder import directory_argument, open_store, tell
from unbrick.printable import printable


@click.group("inventory")
def command() -> None:
    """The machines that are expected.

    Example: unbrick tally inventory import tally inventory.csv
    """


@command.command("import")
@directory_argument
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@click.option("--replace", "replacing", is_flag=True, help="Forget expected machines that CSV does not name.")
def import_inventory(directory: Path, file: Path, replacing: bool) -> None:
    """Take the list of expected machines, so that "not yet seen" is a number.

    Example: unbrick tally inventory import tally inventory.csv
    """
    with open_store(directory) as store:
        counts = store.import_inventory(file, replace=replacing)
    changes = f"{counts.added} added, {counts.updated} updated, {counts.unchanged} unchanged"
    tell(f"{changes}, {counts.removed} removed, {counts.bad} not usable")
    for problem in counts.problems:
        say(f"unbrick: {file.name} {printable(str(problem))}", err=True)
    if counts.bad:
        click.get_current_context().exit(1)
