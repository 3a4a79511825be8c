"""Take back what a person said of a machine: the last mark or confirmation."""

from __future__ import annotations

import click

from unbrick.cli.options.machines import machine_argument, machine_documents, row_line, unseen_option, which
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument


@click.command("unmark")
@directory_argument
@machine_argument
@reason_option("Why, in a few words.", required=True)
@unseen_option
@act_options
def command(act: Act, machine: str, reason: str, unseen: bool) -> None:
    """Take back the last `mark` or `confirm` of MACHINE, once more the one before it, and so on.

    What was said before counts again, else what the machine showed. One that was known by that mark alone is
    no longer counted. What was taken back stays written down, with who and why.

    Example: unbrick tally unmark tally WARD-3-PC --reason "it was WARD-4-PC"
    """
    with act.open_store() as store:
        said, row = store.unmark(machine, reason=reason, who=act.who, unseen=unseen)
        named = {"name": machine} if row is None else which(row)
        act.note("unmarked", status=said.status, reason=reason, who=act.who, **named)
        now = f"{machine} was known by that mark alone: it is no longer counted"
        act.answer(
            [
                f"took back {said.status} by {said.who}" + (f" ({said.reason})" if said.reason else ""),
                now if row is None else row_line(row),
            ],
            lambda: {"machines": machine_documents(store, [row] if row else [])},
        )
