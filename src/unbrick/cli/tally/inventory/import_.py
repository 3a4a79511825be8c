"""Take the list of expected machines, so that "not yet seen" is a number."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.consent import ask, require_consent
from unbrick.cli.options.tally_folder import directory_argument, note_deed, open_store, tell
from unbrick.cli.terminal.manners import say
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.tally.office.inventory_headings import Columns
    from unbrick.tally.records import InventoryCounts, Replacement

_MOST_HEADINGS = 20
_WORDS = {"serial": "serial number"}


@click.command("import")
@directory_argument
@click.argument("file", metavar="CSV", type=click.Path(path_type=Path))
@click.option(
    "--replace",
    "replacing",
    is_flag=True,
    help="CSV is the whole list: forget what it does not name, unless a machine reported or was marked.",
)
@click.option("--yes", is_flag=True, help="With --replace: do not ask before anything is forgotten.")
def command(directory: Path, file: Path, replacing: bool, yes: bool) -> None:
    """Take the list of expected machines, so that "not yet seen" is a number.

    CSV is what a tool exported: its columns are known by the usual headings in several languages, and what
    became of each is said. What it has no cell for stays as it was known. Of lines that contradict each
    other both are named, and what was known, else the first, counts.

    Example: unbrick tally inventory import tally inventory.csv
    """
    from unbrick.tally.office.inventory import read_inventory

    with open_store(directory) as store:
        inventory = read_inventory(file)
        say(f"unbrick: {printable(_columns(file.name, inventory.columns))}", err=True)
        replacement = store.foresee_replacement(inventory) if replacing else None
        if replacement is not None and (replacement.leaving or replacement.emptied):
            for line in _losses(replacement, file.name, inventory.bad.count):
                say(f"unbrick: {printable(line)}", err=True)
            require_consent(yes=yes)
            ask("Replace the list?", yes=yes)
        counts = store.take_inventory(inventory, replacement)
    note_deed(directory, "inventory imported", file=file.name, added=counts.added, removed=counts.removed)
    _tell(counts, file.name)
    if counts.bad or counts.contradicting:
        click.get_current_context().exit(1)


def _columns(name: str, columns: Columns) -> str:
    """Which column of the list became what."""
    used = [
        f'"{heading}" is the {_WORDS.get(column, column)}' for column, heading in columns.headings.items()
    ]
    if not columns.ignored:
        return f"{name}: {', '.join(used)}"
    ignored = [f'"{heading}"' for heading in columns.ignored[:_MOST_HEADINGS]]
    if len(columns.ignored) > _MOST_HEADINGS:
        ignored.append(f"and {len(columns.ignored) - _MOST_HEADINGS} more")
    return f"{name}: {', '.join(used)}; not used: {', '.join(ignored)}"


def _losses(replacement: Replacement, name: str, bad: int) -> Iterator[str]:
    if bad:
        yield f"lines of {name} that cannot be used, and so name no machine: {bad:,}"
    if gone := len(replacement.leaving):
        more = f" and {gone - len(replacement.names):,} more" if gone > len(replacement.names) else ""
        listed = ", ".join(replacement.names) + more
        will = "is not in {} and goes" if gone == 1 else "are not in {} and go"
        yield f"{gone:,} of {replacement.of:,} expected machines {will.format(name)}: {listed}"
    if kept := replacement.kept:
        will = "is not in {} and stays" if kept == 1 else "are not in {} and stay"
        yield f"{kept:,} {will.format(name)}, because a medium reported or somebody said something of it"
    for column, count in replacement.emptied.items():
        will = "machine loses its" if count == 1 else "machines lose their"
        yield f"{count:,} {will} {_WORDS.get(column, column)}, for which {name} has no cell"


def _tell(counts: InventoryCounts, name: str) -> None:
    parts = [f"{counts.added} added", f"{counts.updated} updated", f"{counts.unchanged} unchanged"]
    parts += [f"{counts.removed} removed", f"{counts.bad} not usable"]
    if counts.contradicting:
        parts.append(f"{counts.contradicting} contradicting another line or what is known")
    tell(", ".join(parts))
    for kind, problems, count in (
        ("", counts.problems, counts.bad),
        ("contradiction, ", counts.contradictions, counts.contradicting),
    ):
        for problem in problems:
            say(f"unbrick: {name} {kind}{printable(str(problem))}", err=True)
        if count > len(problems):
            say(f"unbrick: {name} {kind}and {count - len(problems):,} more lines", err=True)
