"""List what contradicts what, and what would settle it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import json_flag, tell
from unbrick.cli.options.tally_folder import directory_argument, look_at_store

if TYPE_CHECKING:
    from unbrick.tally.office.joining import Decision

_MOST = 50


@click.command("contradictions")
@directory_argument
@json_flag("One JSON document, with every contradiction.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Those that were settled, too, no end of the list, and the decisions in force.",
)
def command(directory: Path, as_json: bool, everything: bool) -> None:
    """List what contradicts what: reports, the inventory, the enrolment. None of it moves a number by itself.

    Each line has the code by which `unbrick tally settle` knows it, and the verbs that would settle it.

    Example: unbrick tally contradictions tally
    """
    from unbrick.tally.office.disputes import as_document

    with look_at_store(directory) as store:
        whole = as_json or everything
        found = store.disputes(None if whole else _MOST, settled=whole)
        decided = store.decisions() if whole else []
        more = 0 if whole else store.summary().contradictions - len(found)
    if as_json:
        documents = [{**asdict(one), "at": one.at.isoformat() if one.at else None} for one in decided]
        click.echo(
            json.dumps({"contradictions": [as_document(one) for one in found], "decisions": documents})
        )
        return
    for one in found:
        tell(f"{one.code}  {one.text}" + ("" if one.counted else " (not counted)"))
        when = f" since {one.since:%Y-%m-%d %H:%M}Z" if one.since else ""
        tell(f"    said by {', '.join(one.stations) or '-'}{when}; if it counted: {one.would}")
        if one.settled:
            tell(f"    settled ({one.settled}); undo: unbrick tally settle {directory} {one.code} --undo")
        else:
            for verb in one.settles:
                tell(f"    unbrick tally {verb.replace(' DIR ', f' {directory} ')}")
    if more > 0:
        tell(f"and {more:,} more: --all")
    if not found:
        tell("nothing contradicts anything")
    for decision in decided:
        _tell_decision(directory, decision)


def _tell_decision(directory: Path, one: Decision) -> None:
    when = f" on {one.at:%Y-%m-%d %H:%M}Z" if one.at else ""
    undo = f"{one.what} {directory} {one.name} --undo"
    if one.what == "discount":
        undo = f"unrevoke {directory} {one.called[0]} --reason TEXT"
    tell(f"{one.name}  {one.what} {', '.join(one.called)}, by {one.who}{when}: {one.reason}")
    tell(f"    undo: unbrick tally {undo}")
