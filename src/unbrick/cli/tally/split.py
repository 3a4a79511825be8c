"""Count a machine as several: one firmware UUID, several computers."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import (
    directory_argument,
    note_deed,
    open_store,
    seen_reason,
    show_row,
    who_option,
    whose_word,
)


@click.command("split")
@directory_argument
@click.argument("machine")
@click.option(
    "--by",
    type=click.Choice(["disk", "serial", "name"]),
    default="serial",
    show_default=True,
    help="What tells the computers apart.",
)
@click.option("--reason", callback=seen_reason, default="", help="Why, in a few words; needed unless --undo.")
@click.option("--undo", is_flag=True, help="Count it as one again.")
@who_option
def command(directory: Path, machine: str, by: str, reason: str, undo: bool, who: str | None) -> None:
    """Count MACHINE as several computers that have one firmware UUID, or one disk and name.

    It is named by its computer name, its serial number or the code on its sticker; with --undo also as it was
    when it was split, or by `decision:N` as `unbrick tally contradictions DIR --all` lists it.

    Example: unbrick tally split tally WARD-3-PC --by serial --reason "the vendor gave all one UUID"
    """
    said_by = whose_word(who)
    with open_store(directory) as store:
        if undo:
            rows = store.unsplit(machine, who=said_by)
        else:
            rows = store.split(machine, by=by, reason=reason, who=said_by)
    note_deed(
        directory, "unsplit" if undo else "split", machine=machine, by_what=by, who=said_by, reason=reason
    )
    for row in rows:
        show_row(row)
