"""Write down that a machine was seen alive in Windows."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import directory_argument, open_store, show_row, who_option, whose_word
from unbrick.cli.options.tally_words import machine_argument, new_option, note_word, unseen_option


@click.command("confirm")
@directory_argument
@machine_argument
@click.option("--reason", metavar="TEXT", default="", help="How it is known.")
@who_option
@new_option
@unseen_option
def command(directory: Path, machine: str, reason: str, who: str | None, new: bool, unseen: bool) -> None:
    """Write down that MACHINE was seen alive in Windows.

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. `unbrick tally unmark` takes it back.

    Example: unbrick tally confirm tally WARD-3-PC
    """
    word = whose_word(who)
    with open_store(directory) as store:
        row = store.confirm(machine, who=word, reason=reason, new=new, unseen=unseen)
    note_word(directory, "confirmed", row, reason=reason, who=word)
    show_row(row)
