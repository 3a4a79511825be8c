"""`unbrick tally mark`: a person's word of a machine."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.folder import directory_argument, open_store, show_row, who_option, whose_word


@click.command("mark")
@directory_argument
@click.argument("name")
@click.argument("status")
@click.option("--reason", required=True, help="Why, in a few words.")
@who_option
def command(directory: Path, name: str, status: str, reason: str, who: str | None) -> None:
    """Write down what no medium saw: that machine NAME is re-imaged, firmware-locked, hands-off, …

    Counted apart from what machines proved. An unknown STATUS is refused, and the known ones are named.

    Example: unbrick tally mark tally WARD-3-PC re-imaged --reason "disk was replaced"
    """
    with open_store(directory) as store:
        show_row(store.mark(name, status, reason=reason, who=whose_word(who)))
