"""A list of expected machines that takes the place of another: asked about first, and the former one kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.cli.options.consent import ask, require_consent
from unbrick.cli.options.tally_folder import tell
from unbrick.cli.terminal.manners import say
from unbrick.text import printable

if TYPE_CHECKING:
    from unbrick.tally.office.inventory import Inventory
    from unbrick.tally.records import InventoryCounts, Replacement
    from unbrick.tally.store.store import Store

LIST_WORDS = {"serial": "serial number"}


def replace_list(
    store: Store, directory: Path, inventory: Inventory, name: str, *, yes: bool
) -> tuple[InventoryCounts, Path]:
    """Put a list in the place of the present one, which is kept; where machines go with that, ask first.

    Gives where the former one lies.
    """
    from unbrick.tally.new_places import errors_named
    from unbrick.tally.office.former_lists import keep_list

    store.finish_inventory()
    replacement = store.foresee_replacement(inventory)
    if replacement.leaving or replacement.emptied:
        for line in _losses(replacement, name, inventory.bad.count):
            say(f"unbrick: {printable(line)}", err=True)
        require_consent(yes=yes)
        gone = len(replacement.leaving)
        machines = "1 machine" if gone == 1 else f"{gone:,} of {replacement.of:,} machines"
        ask(f"Replace the list, and take {machines} out of it?" if gone else "Replace the list?", yes=yes)
    with errors_named(directory):
        kept = keep_list(directory, store.inventory_lines())
    counts = store.take_inventory(inventory, replacement)
    if counts.removed or replacement.emptied:
        tell(f"the former list is in {kept}; to put it back: unbrick tally inventory restore {directory}")
    return counts, kept


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
        yield f"{count:,} {will} {LIST_WORDS.get(column, column)}, for which {name} has no cell"


def tell_counts(counts: InventoryCounts, name: str) -> None:
    """What a list brought, and which of its lines could not be used."""
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
