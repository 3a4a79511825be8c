"""Count a machine as several: one firmware UUID, several computers."""

from __future__ import annotations

import click

from unbrick.cli.options.machines import machine_documents, row_line
from unbrick.cli.options.tally_act import Act, act_options, reason_option
from unbrick.cli.options.tally_folder import directory_argument


@click.command("split")
@directory_argument
@click.argument("machine")
@click.option(
    "--by",
    type=click.Choice(["disk", "serial", "name"]),
    default="serial",
    show_default=True,
    help="What tells the computers apart.",
)
@reason_option("Why, in a few words; needed unless --undo.")
@click.option("--undo", is_flag=True, help="Count it as one again.")
@act_options
def command(act: Act, machine: str, by: str, reason: str | None, undo: bool) -> None:
    """Count MACHINE as several computers that have one firmware UUID, or one disk and name.

    It is named by its computer name, its serial number or the code on its sticker; with --undo also as it was
    when it was split, or by `decision:N` as `unbrick tally contradictions DIR --all` lists it.

    Example: unbrick tally split tally WARD-3-PC --by serial --reason "the vendor gave all one UUID"
    """
    with act.open_store() as store:
        if undo:
            rows = store.unsplit(machine, who=act.who)
        else:
            rows = store.split(machine, by=by, reason=reason or "", who=act.who)
        what = "unsplit" if undo else "split"
        act.note(what, machine=machine, by_what=by, who=act.who, reason=reason or "")
        act.answer(map(row_line, rows), lambda: {"machines": machine_documents(store, rows)})
