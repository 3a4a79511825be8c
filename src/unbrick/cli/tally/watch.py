"""Watch the tally live on this terminal."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.tally_folder import directory_argument, folder_of, look_at_store, missing_reports

if TYPE_CHECKING:
    from unbrick.tally.show.board import Board


@click.command("watch")
@directory_argument
def command(directory: Path) -> None:
    """Watch the tally live on this terminal; q ends it.

    Example: unbrick tally watch tally
    """
    from rich.console import Console

    from unbrick.tally.door.condition import read_trouble
    from unbrick.tally.show.board import Reader
    from unbrick.tally.show.watch import watch_terminal
    from unbrick.tally.trust.stations import CertificatesNotice

    folder = folder_of(directory)
    with look_at_store(directory) as store:
        missing = missing_reports(store, folder)
        reader, certificates = Reader(store), CertificatesNotice(folder)

        def read() -> Board:
            board = reader.read(datetime.now().astimezone())
            trouble = missing or read_trouble(folder) or board.trouble
            return replace(board, trouble=trouble, notice=certificates.read())

        watch_terminal(read, Console())
