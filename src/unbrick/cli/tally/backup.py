"""Copy the tally, also while it is served."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.tally_folder import directory_argument, show_progress, tell
from unbrick.cli.terminal.manners import say
from unbrick.text import printable


@click.command("backup")
@directory_argument
@click.argument("out", metavar="OUT", type=click.Path(path_type=Path))
@click.option("--with-authority", is_flag=True, help="Copy the authority's private key, too: guard the copy.")
def command(directory: Path, out: Path, with_authority: bool) -> None:
    """Copy the tally to OUT (new or empty), also while it is served, and look the copy over.

    What is in OUT can be served in its place. It holds the host's and the first station's private keys.

    Example: unbrick tally backup tally /backup/tally-1
    """
    from unbrick.tally.upkeep.backup import back_up

    copied = back_up(directory, out, with_authority=with_authority, progress=show_progress)
    for note in copied.notes:
        say(f"unbrick: {printable(note)}", err=True)
    for sentence in copied.found.complaints:
        say(f"unbrick: {printable(sentence)}", err=True)
    if copied.found.is_well:
        tell(f"copied {copied.reports} reports to {out}, and looked them over")
        return
    say(f"unbrick: the copy in {out} has the faults of the tally", err=True)
    say(f"  what to do: unbrick tally check {directory}", err=True)
    click.get_current_context().exit(1)
