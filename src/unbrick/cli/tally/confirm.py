"""Write down that a machine was seen alive in Windows."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import json_option
from unbrick.cli.options.machines import (
    machine_argument,
    machine_documents,
    new_option,
    row_line,
    unseen_option,
    which,
)
from unbrick.cli.options.tally_act import Act, reason_option, who_option, whose_word
from unbrick.cli.options.tally_folder import directory_argument, open_store


@click.command("confirm")
@directory_argument
@machine_argument
@reason_option("How it is known.")
@who_option
@new_option
@unseen_option
@json_option
def command(
    directory: Path,
    machine: str,
    reason: str | None,
    who: str | None,
    new: bool,
    unseen: bool,
    as_json: bool,
) -> None:
    """Write down that MACHINE was seen alive in Windows.

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. `unbrick tally unmark` takes it back.

    Example: unbrick tally confirm tally WARD-3-PC
    """
    act, word = Act(directory, as_json=as_json), whose_word(who)
    with open_store(directory) as store:
        row = store.confirm(machine, who=word, reason=reason or "", new=new, unseen=unseen)
        act.note("confirmed", reason=reason or "", who=word, **which(row))
        act.answer([row_line(row)], lambda: {"machines": machine_documents(store, [row])})
