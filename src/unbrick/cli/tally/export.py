"""`unbrick tally export`: the reports as they were signed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from unbrick.cli.tally.folder import directory_argument, folder_of, tell
from unbrick.errors import UsageError


@click.command("export")
@directory_argument
@click.option("--out", metavar="FILE", type=click.Path(path_type=Path), help="Write there, not to stdout.")
@click.option(
    "--verifiable",
    "folder",
    metavar="FOLDER",
    type=click.Path(path_type=Path),
    help="Fill a new folder with files that `ssh-keygen -Y verify` takes.",
)
def command(directory: Path, out: Path | None, folder: Path | None) -> None:
    """Give every report away as it was signed, a line of JSON each, as `unbrick tally import` takes it.

    Example: unbrick tally export tally --out reports.jsonl
    """
    if out is not None and folder is not None:
        raise UsageError("--out and --verifiable are two exports", hint="give one of them")
    from unbrick.tally.export import write_file, write_folder, write_lines
    from unbrick.tally.looking import LookingDatabase
    from unbrick.tally.register import StationRegister

    paths = folder_of(directory)
    with LookingDatabase(paths.database) as database:
        if folder is not None:
            number = write_folder(database, StationRegister(paths.stations), folder)
            tell(f"{number} reports in {folder}")
        elif out is None:
            write_lines(database, sys.stdout.buffer)
        else:
            number = write_file(database, out)
            tell(f"{number} reports in {out}")
