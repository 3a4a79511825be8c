"""`unbrick tally confirm`: a machine that was seen alive in Windows."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.folder import directory_argument, open_store, show_row, who_option, whose_word


@click.command("confirm")
@directory_argument
@click.argument("name")
@click.option("--reason", default="", help="How it is known.")
@who_option
def command(directory: Path, name: str, reason: str, who: str | None) -> None:
    """Write down that machine NAME was seen alive in Windows.

    Example: unbrick tally confirm tally WARD-3-PC
    """
    with open_store(directory) as store:
        show_row(store.confirm(name, who=whose_word(who), reason=reason))
