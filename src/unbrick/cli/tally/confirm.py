"""Write down that a machine was seen alive in Windows."""

from __future__ import annotations

import click

from unbrick.cli.options.machines import (
    machine_argument,
    machine_documents,
    new_option,
    row_line,
    unseen_option,
    which,
)
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument


@click.command("confirm")
@directory_argument
@machine_argument
@reason_option("How it is known.")
@new_option
@unseen_option
@act_options
def command(act: Act, machine: str, reason: str | None, new: bool, unseen: bool) -> None:
    """Write down that MACHINE was seen alive in Windows.

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. `unbrick tally unmark` takes it back.

    Example: unbrick tally confirm tally WARD-3-PC
    """
    with act.open_store() as store:
        row = store.confirm(machine, who=act.who, reason=reason or "", new=new, unseen=unseen)
        act.note("confirmed", reason=reason or "", who=act.who, **which(row))
        act.answer([row_line(row)], lambda: {"machines": machine_documents(store, [row])})
