"""Count or dismiss what a contradiction is about."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import (
    directory_argument,
    note_deed,
    open_store,
    tell,
    who_option,
    whose_word,
)
from unbrick.errors import UsageError


@click.command("settle")
@directory_argument
@click.argument("code")
@click.option("--count", "choice", flag_value="count", help="The report is right: count it.")
@click.option(
    "--dismiss", "choice", flag_value="dismiss", help="Leave the numbers as they are; it is dealt with."
)
@click.option("--undo", "choice", flag_value="undo", help="Take the decision back.")
@click.option("--reason", default="", help="Why, in a few words; needed unless --undo.")
@who_option
def command(directory: Path, code: str, choice: str | None, reason: str, who: str | None) -> None:
    """Decide on the contradiction CODE, as `unbrick tally contradictions` lists it.

    Example: unbrick tally settle tally K7M3-9XPC --count --reason "the laptop moved to elm-road"
    """
    from unbrick.tally.count.decisions import What

    if choice is None:
        raise UsageError("say what to do with it", hint="--count, --dismiss or --undo")
    what = None if choice == "undo" else What(choice)
    by = whose_word(who)
    with open_store(directory) as store:
        dispute = store.settle(code, what, reason=reason, who=by)
    note_deed(
        directory,
        "settled",
        contradiction=f"{dispute.kind} {dispute.subject}",
        how=choice,
        who=by,
        reason=reason,
    )
    tell(f"{dispute.code}  {dispute.text}: {dispute.settled or 'open again'}")
