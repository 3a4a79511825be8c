"""Copy the tally, also while it is served."""

from __future__ import annotations

import json
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, advise, json_option, tell, warn
from unbrick.cli.options.tally_folder import directory_argument, show_progress
from unbrick.cli.tally.check import checked_document
from unbrick.text import counted


@click.command("backup")
@directory_argument
@click.argument("out", metavar="OUT", type=PATH)
@click.option("--with-authority", is_flag=True, help="Copy the authority's private key, too: guard the copy.")
@json_option
def command(directory: Path, out: Path, with_authority: bool, as_json: bool) -> None:
    """Copy the tally to OUT (new or empty), also while it is served, and look the copy over.

    What is in OUT can be served in its place. It holds the host's and the first station's private keys.

    Example: unbrick tally backup tally /backup/tally-1
    """
    from unbrick.tally.upkeep.backup import back_up

    copied = back_up(directory, out, with_authority=with_authority, progress=show_progress)
    found = copied.found
    if as_json:
        document = {"out": str(out), **checked_document(found), "notes": list(copied.notes)}
        click.echo(json.dumps({**document, "reports": copied.reports}))
    else:
        for line in (*copied.notes, *found.complaints):
            warn(line)
    if found.is_well:
        if not as_json:
            tell(f"copied {counted(copied.reports, 'report')} to {out}, and looked them over")
        return
    warn(f"the copy in {out} has the faults of the tally")
    advise(f"unbrick tally check {directory}")
    click.get_current_context().exit(1)
