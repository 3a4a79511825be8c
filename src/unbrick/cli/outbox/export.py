"""Write what waits to a new FILE, to be carried to the tally; nothing leaves the outbox."""

from __future__ import annotations

import json
from pathlib import Path

import click

from unbrick.cli.options.answer import json_option, tell
from unbrick.cli.options.disk_work import station_option
from unbrick.cli.options.outbox import open_outbox
from unbrick.text import are, counted


@click.command("export")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@station_option
@json_option
def command(file: Path, station: Path | None, as_json: bool) -> None:
    """Write what waits to a new FILE, to be carried to the tally; nothing leaves the outbox.

    `unbrick tally import` reads it there; what also arrives by itself is counted once.

    Example: unbrick outbox export reports.jsonl --station unbrick.yaml
    """
    count = open_outbox(station).export(file)
    if as_json:
        click.echo(json.dumps({"exported": count, "file": str(file)}))
    else:
        them = "it" if count == 1 else "them"
        reports = f"{counted(count, 'report')} {are(count)} in {file}"
        tell(f"{reports}; read {them} in with unbrick tally import")
