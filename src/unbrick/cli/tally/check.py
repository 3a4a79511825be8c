"""Look at everything that the tally keeps: whole, as it was signed, adding up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.answer import advise, json_option, tell, warn
from unbrick.cli.options.tally_act import Act, who_option
from unbrick.cli.options.tally_folder import directory_argument, show_progress
from unbrick.text import are, counted

if TYPE_CHECKING:
    from unbrick.tally.upkeep.check import Checked


@click.command("check")
@directory_argument
@click.option("--signatures", is_flag=True, help="Verify the signature of every report again, too.")
@click.option("--repair", is_flag=True, help="Make what is added up anew from the reports, where it differs.")
@who_option
@json_option
def command(directory: Path, signatures: bool, repair: bool, who: str | None, as_json: bool) -> None:
    """Look at everything that the tally keeps, also while it is served; exit code 1 where anything is wrong.

    Every report is there and is what was signed, and the numbers are what the reports add up to. --repair
    makes the numbers anew; the reports themselves it never touches.

    Example: unbrick tally check tally --signatures
    """
    from unbrick.tally.upkeep.check import check_tally, repair_tally

    found = check_tally(directory, signatures=signatures, progress=show_progress)
    repaired = False
    if repair and found.differences and not found.complaints:
        repair_tally(directory, by=Act(directory, who, as_json=as_json).who)
        repaired = True
    if as_json:
        click.echo(json.dumps({**checked_document(found), "repaired": repaired}))
    else:
        _tell(found, repaired)
    well = not found.complaints and not found.missing and (repaired or not found.differences)
    click.get_current_context().exit(0 if well else 1)


def checked_document(found: Checked) -> dict[str, object]:
    return {
        "reports": found.reports,
        "missing": found.missing,
        "complaints": found.complaints,
        "more": found.more,
        "differences": found.differences,
        "signatures": found.signatures,
        "schema": 1,
    }


def _tell(found: Checked, repaired: bool) -> None:
    for sentence in (*found.complaints, *found.differences):
        warn(sentence)
    if found.more:
        warn(f"and {found.more} more")
    verified = "" if found.signatures is None else f", {counted(found.signatures, 'signature')} verified"
    reports = f"{counted(found.reports, 'report')}{verified}"
    whole = f"{reports} {are(found.reports)} whole"
    if found.is_well:
        tell(f"all is well: {reports}, and the numbers are what they add up to")
    elif repaired:
        tell(f"the numbers were made anew from {reports}")
    elif found.lacks_mark and len(found.complaints) == 1:
        tell(f"{whole}; whether there were more cannot be told")
        advise("look where tally.mark was moved to; else: unbrick tally serve DIR --accept-loss")
    elif found.lacks_trust and len(found.complaints) == 1:
        tell(f"{whole}; changes of who may report are missing")
        advise("put the newest stations.json back (unbrick help administrator)")
    elif found.complaints:
        tell(f"{reports}; {found.missing} {are(found.missing)} missing")
        advise("restore a copy of tally.db (unbrick help administrator)")
    else:
        tell(f"{whole}, but the numbers are not what they add up to")
        advise("unbrick tally check DIR --repair")
