"""What the verbs of the inventory share: replacing a list, and what came of a list."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbrick.cli.options.answer import warn
from unbrick.cli.options.consent import ask, require_consent
from unbrick.cli.options.tally_act import Act
from unbrick.text import counted

if TYPE_CHECKING:
    from unbrick.tally.office.inventory import Inventory
    from unbrick.tally.records import InventoryCounts, Replacement
    from unbrick.tally.store.store import Store

LIST_WORDS = {"serial": "serial number"}


def replace_list(
    store: Store, act: Act, inventory: Inventory, name: str, *, yes: bool
) -> tuple[InventoryCounts, Path]:
    """Put a list in the place of the present one; where machines go with that, ask first.

    Gives where the former one is kept.
    """
    from unbrick.tally.new_places import errors_named
    from unbrick.tally.office.former_lists import keep_list

    store.finish_inventory()
    replacement = store.foresee_replacement(inventory)
    if replacement.leaving or replacement.emptied:
        for line in _losses(replacement, name, inventory.bad.count):
            warn(line)
        require_consent(yes=yes)
        gone = len(replacement.leaving)
        machines = "1 machine" if gone == 1 else f"{gone:,} of {replacement.of:,} machines"
        ask(f"Replace the list, and take {machines} out of it?" if gone else "Replace the list?", yes=yes)
    with errors_named(act.directory):
        kept = keep_list(act.directory, store.inventory_lines())
    counts = store.take_inventory(inventory, replacement)
    if counts.removed or replacement.emptied:
        act.tell(
            f"the former list is in {kept}; to put it back: unbrick tally inventory restore {act.directory}"
        )
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


def answer_counts(act: Act, counts: InventoryCounts, name: str, former: Path | None) -> None:
    """What a list brought, and which of its lines could not be used; `former` is the list it replaced."""
    parts = [f"{counts.added} added", f"{counts.updated} updated", f"{counts.unchanged} unchanged"]
    parts += [f"{counts.removed} removed", f"{counts.bad} not usable"]
    if counts.contradicting:
        parts.append(f"{counts.contradicting} contradicting another line or what is known")
    act.answer([", ".join(parts)], lambda: _document(counts, former))
    for kind, problems, count in (
        ("", counts.problems, counts.bad),
        ("contradiction, ", counts.contradictions, counts.contradicting),
    ):
        for problem in problems:
            warn(f"{name} {kind}{problem}")
        if more := count - len(problems):
            warn(f"{name} {kind}and {counted(more, 'more line')}")


def _document(counts: InventoryCounts, former: Path | None) -> dict[str, Any]:
    return {**asdict(counts), "former": str(former) if former else None}
