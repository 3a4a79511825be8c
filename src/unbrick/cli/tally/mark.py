"""Write down what no medium saw: re-imaged, firmware-locked, hands-off, …"""

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


@click.command("mark")
@directory_argument
@machine_argument
@click.argument("status")
@reason_option("Why, in a few words.", required=True)
@new_option
@unseen_option
@act_options
def command(act: Act, machine: str, status: str, reason: str, new: bool, unseen: bool) -> None:
    """Write down what no medium saw: that MACHINE is re-imaged, firmware-locked, hands-off, …

    MACHINE is a computer name, a serial number or the code on its sticker, as in `status --find`; one that
    nobody knows is refused. Counted apart from what machines proved. An unknown STATUS is refused, and the
    known ones are named. `unbrick tally unmark` takes it back.

    Example: unbrick tally mark tally WARD-3-PC re-imaged --reason "disk was replaced"
    """
    with act.open_store() as store:
        row = store.mark(machine, status, reason=reason, who=act.who, new=new, unseen=unseen)
        act.note("marked", status=row.status, reason=reason, who=act.who, **which(row))
        act.answer([row_line(row)], lambda: {"machines": machine_documents(store, [row])})
