"""Write down what no medium saw: re-imaged, firmware-locked, hands-off, …"""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import (
    directory_argument,
    open_store,
    seen_reason,
    show_row,
    who_option,
    whose_word,
)
from unbrick.cli.options.tally_words import machine_argument, new_option, note_word, unseen_option


@click.command("mark")
@directory_argument
@machine_argument
@click.argument("status")
@click.option("--reason", callback=seen_reason, metavar="TEXT", required=True, help="Why, in a few words.")
@who_option
@new_option
@unseen_option
def command(
    directory: Path, machine: str, status: str, reason: str, who: str | None, new: bool, unseen: bool
) -> None:
    """Write down what no medium saw: that MACHINE is re-imaged, firmware-locked, hands-off, …

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. Counted apart from what machines proved. An unknown STATUS is refused, and the
    known ones are named. `unbrick tally unmark` takes it back.

    Example: unbrick tally mark tally WARD-3-PC re-imaged --reason "disk was replaced"
    """
    word = whose_word(who)
    with open_store(directory) as store:
        row = store.mark(machine, status, reason=reason, who=word, new=new, unseen=unseen)
    note_word(directory, "marked", row, status=row.status, reason=reason, who=word)
    show_row(row)
