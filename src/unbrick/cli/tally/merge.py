"""Count two machines as one: a changed mainboard, a disk that moved."""

from __future__ import annotations

import click

from unbrick.cli.options.machines import machine_documents, row_line
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument
from unbrick.errors import UsageError


@click.command("merge")
@directory_argument
@click.argument("machine")
@click.argument("other", required=False)
@reason_option("Why, in a few words; needed unless --undo.")
@click.option("--undo", is_flag=True, help="Take back what was merged into MACHINE.")
@act_options
def command(act: Act, machine: str, other: str | None, reason: str | None, undo: bool) -> None:
    """Count OTHER as MACHINE from now on: a changed mainboard, a disk that moved, a computer with a new name.

    Each is named by its computer name, its serial number or the code on its sticker; with --undo also as it
    was when they were merged, or by `decision:N` as `unbrick tally contradictions DIR --all` lists it.

    Example: unbrick tally merge tally WARD-3-PC K7M3-9XPC --reason "new mainboard on Monday"
    """
    if not undo and not other:
        raise UsageError(
            "name the two machines that are one", hint="or --undo, with the one they were merged into"
        )
    with act.open_store() as store:
        if undo:
            rows = store.unmerge(machine, who=act.who)
        else:
            assert other is not None
            rows = store.merge(machine, other, reason=reason or "", who=act.who)
        what = "unmerged" if undo else "merged"
        act.note(what, machine=machine, other=other or "", who=act.who, reason=reason or "")
        act.answer(map(row_line, rows), lambda: {"machines": machine_documents(store, rows)})
