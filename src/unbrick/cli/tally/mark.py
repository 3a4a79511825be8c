"""Write down what no medium saw: re-imaged, firmware-locked, hands-off, …"""

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


@click.command("mark")
@directory_argument
@machine_argument
@click.argument("status")
@reason_option("Why, in a few words.", required=True)
@who_option
@new_option
@unseen_option
@json_option
def command(
    directory: Path,
    machine: str,
    status: str,
    reason: str,
    who: str | None,
    new: bool,
    unseen: bool,
    as_json: bool,
) -> None:
    """Write down what no medium saw: that MACHINE is re-imaged, firmware-locked, hands-off, …

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. Counted apart from what machines proved. An unknown STATUS is refused, and the
    known ones are named. `unbrick tally unmark` takes it back.

    Example: unbrick tally mark tally WARD-3-PC re-imaged --reason "disk was replaced"
    """
    act, word = Act(directory, as_json=as_json), whose_word(who)
    with open_store(directory) as store:
        row = store.mark(machine, status, reason=reason, who=word, new=new, unseen=unseen)
        act.note("marked", status=row.status, reason=reason, who=word, **which(row))
        act.answer([row_line(row)], lambda: {"machines": machine_documents(store, [row])})
