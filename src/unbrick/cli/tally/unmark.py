"""Take back what a person said of a machine: the last mark or confirmation."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import json_option
from unbrick.cli.options.machines import machine_argument, machine_documents, row_line, unseen_option, which
from unbrick.cli.options.tally_act import Act, reason_option, who_option, whose_word
from unbrick.cli.options.tally_folder import directory_argument, open_store


@click.command("unmark")
@directory_argument
@machine_argument
@reason_option("Why, in a few words.", required=True)
@who_option
@unseen_option
@json_option
def command(directory: Path, machine: str, reason: str, who: str | None, unseen: bool, as_json: bool) -> None:
    """Take back the last `mark` or `confirm` of MACHINE, once more the one before it, and so on.

    What was said before counts again, else what the machine showed. One that was known by that mark alone is
    no longer counted. What was taken back stays written down, with who and why.

    Example: unbrick tally unmark tally WARD-3-PC --reason "it was WARD-4-PC"
    """
    act, word = Act(directory, as_json=as_json), whose_word(who)
    with open_store(directory) as store:
        said, row = store.unmark(machine, reason=reason, who=word, unseen=unseen)
        named = {"name": machine} if row is None else which(row)
        act.note("unmarked", status=said.status, reason=reason, who=word, **named)
        now = f"{machine} was known by that mark alone: it is no longer counted"
        act.answer(
            [
                f"took back {said.status} by {said.who}" + (f" ({said.reason})" if said.reason else ""),
                now if row is None else row_line(row),
            ],
            lambda: {"machines": machine_documents(store, [row] if row else [])},
        )
