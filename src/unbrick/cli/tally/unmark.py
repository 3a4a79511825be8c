"""Take back what a person said of a machine: the last mark or confirmation."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import (
    directory_argument,
    open_store,
    seen_reason,
    show_row,
    tell,
    who_option,
    whose_word,
)
from unbrick.cli.options.tally_words import machine_argument, note_word, unseen_option


@click.command("unmark")
@directory_argument
@machine_argument
@click.option("--reason", callback=seen_reason, metavar="TEXT", required=True, help="Why, in a few words.")
@who_option
@unseen_option
def command(directory: Path, machine: str, reason: str, who: str | None, unseen: bool) -> None:
    """Take back the last `mark` or `confirm` of MACHINE, once more the one before it, and so on.

    What was said before counts again, else what the machine showed. One that was known by that mark alone is
    no longer counted. What was taken back stays written down, with who and why.

    Example: unbrick tally unmark tally WARD-3-PC --reason "it was WARD-4-PC"
    """
    word = whose_word(who)
    with open_store(directory) as store:
        said, row = store.unmark(machine, reason=reason, who=word, unseen=unseen)
    note_word(directory, "unmarked", row, name=machine, status=said.status, reason=reason, who=word)
    tell(f"took back {said.status} by {said.who}" + (f" ({said.reason})" if said.reason else ""))
    if row is None:
        tell(f"{machine} was known by that mark alone: it is no longer counted")
    else:
        show_row(row)
