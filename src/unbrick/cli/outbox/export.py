"""Write what waits to a new FILE, to be carried to the tally; nothing leaves the outbox."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, answer, json_option
from unbrick.cli.options.disk_work import station_option
from unbrick.cli.outbox.list import open_outbox
from unbrick.text import are, counted


@click.command("export")
@click.argument("file", metavar="FILE", type=PATH)
@station_option
@json_option
def command(file: Path, station: Path | None, as_json: bool) -> None:
    """Write what waits to a new FILE, to be carried to the tally; nothing leaves the outbox.

    `unbrick tally import` reads it there; what also arrives by itself is counted once.

    Example: unbrick outbox export reports.jsonl --station unbrick.yaml
    """
    count = open_outbox(station).export(file)
    them = "it" if count == 1 else "them"
    line = f"{counted(count, 'report')} {are(count)} in {file}; read {them} in with unbrick tally import"
    answer({"exported": count, "file": str(file)}, [line], as_json=as_json)
