"""Count or dismiss what a contradiction is about."""

from __future__ import annotations

import click

from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument
from unbrick.errors import UsageError


@click.command("settle")
@directory_argument
@click.argument("code")
@click.option("--count", is_flag=True, help="The report is right: count it.")
@click.option("--dismiss", is_flag=True, help="Leave the numbers as they are; it is dealt with.")
@click.option("--undo", is_flag=True, help="Take the decision back.")
@reason_option("Why, in a few words; needed unless --undo.")
@act_options
def command(act: Act, code: str, count: bool, dismiss: bool, undo: bool, reason: str | None) -> None:
    """Decide on the contradiction CODE, as `unbrick tally contradictions` lists it.

    Example: unbrick tally settle tally K7M3-9XPC --count --reason "the laptop moved to elm-road"
    """
    from unbrick.tally.count.decisions import What
    from unbrick.tally.office.disputes import as_document

    given = {"count": count, "dismiss": dismiss, "undo": undo}
    chosen = [name for name, is_given in given.items() if is_given]
    if len(chosen) != 1:
        raise UsageError("say one thing to do with it", hint="--count, --dismiss or --undo")
    (choice,) = chosen
    what = None if choice == "undo" else What(choice)
    with act.open_store() as store:
        dispute = store.settle(code, what, reason=reason or "", who=act.who)
    contradiction = f"{dispute.kind} {dispute.subject}"
    act.note("settled", contradiction=contradiction, how=choice, who=act.who, reason=reason or "")
    act.answer(
        [f"{dispute.code}  {dispute.text}: {dispute.settled or 'open again'}"],
        lambda: {"contradictions": [as_document(dispute)]},
    )
