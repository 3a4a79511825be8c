"""Count or dismiss what a contradiction is about."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import (
    directory_argument,
    note_deed,
    open_store,
    seen_reason,
    tell,
    who_option,
    whose_word,
)
from unbrick.errors import UsageError


@click.command("settle")
@directory_argument
@click.argument("code")
@click.option("--count", is_flag=True, help="The report is right: count it.")
@click.option("--dismiss", is_flag=True, help="Leave the numbers as they are; it is dealt with.")
@click.option("--undo", is_flag=True, help="Take the decision back.")
@click.option("--reason", callback=seen_reason, default="", help="Why, in a few words; needed unless --undo.")
@who_option
def command(
    directory: Path, code: str, count: bool, dismiss: bool, undo: bool, reason: str, who: str | None
) -> None:
    """Decide on the contradiction CODE, as `unbrick tally contradictions` lists it.

    Example: unbrick tally settle tally K7M3-9XPC --count --reason "the laptop moved to elm-road"
    """
    from unbrick.tally.count.decisions import What

    given = {"count": count, "dismiss": dismiss, "undo": undo}
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise UsageError("say one thing to do with it", hint="--count, --dismiss or --undo")
    (choice,) = chosen
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
