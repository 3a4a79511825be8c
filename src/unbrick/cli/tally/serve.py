"""`unbrick tally serve`: serves one."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.tally.folder import directory_argument, tell


@click.command("serve")
@directory_argument
@click.option("--host", help="Listen on this address only.")
@click.option("--port", type=click.IntRange(0, 65535), help="Listen on this port instead; 0: any free one.")
def command(directory: Path, host: str | None, port: int | None) -> None:
    """Serve the tally in DIR until it is stopped (Ctrl-C or SIGTERM); every report in hand is kept.

    Example: unbrick tally serve tally
    """
    from unbrick.tally import server

    server.serve(directory, host=host, port=port, ready=lambda address: tell(f"listening on {address}"))
