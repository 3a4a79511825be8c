"""Give every report away as it was signed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, advise, tell, warn
from unbrick.cli.options.tally_folder import directory_argument, folder_of
from unbrick.errors import UsageError
from unbrick.text import counted


@click.command("export")
@directory_argument
@click.option("--out", metavar="FILE", type=PATH, help="Write there, not to stdout.")
@click.option(
    "--verifiable",
    "folder",
    metavar="FOLDER",
    type=PATH,
    help="Fill a new folder with files that `ssh-keygen -Y verify` takes.",
)
def command(directory: Path, out: Path | None, folder: Path | None) -> None:
    """Give every report away as it was signed, a line of JSON each, as `unbrick tally import` takes it.

    Where reports are missing or cannot be read, it says how many, on stderr, and the exit code is 1; what is
    there is given away all the same.

    Example: unbrick tally export tally --out reports.jsonl
    """
    if out is not None and folder is not None:
        raise UsageError("--out and --verifiable are two exports", hint="give one of them")
    from unbrick.tally.store.looking import LookingDatabase
    from unbrick.tally.trust.register import StationRegister
    from unbrick.tally.upkeep.export_reports import write_file, write_folder, write_lines

    paths = folder_of(directory)
    with LookingDatabase(paths.database) as database:
        if folder is not None:
            done = write_folder(database, StationRegister(paths.stations), folder)
        elif out is not None:
            done = write_file(database, out)
        else:
            done = write_lines(database, sys.stdout.buffer)
    if folder or out:
        tell(f"{counted(done.reports, 'report')} in {folder or out}")
    for sentence in done.complaints:
        warn(sentence)
    if done.complaints:
        warn(f"the export has the {counted(done.reports, 'report')} that can be read")
        advise(f"unbrick tally check {directory}")
        click.get_current_context().exit(1)
