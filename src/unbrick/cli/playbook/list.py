"""List the playbooks that come with unbrick."""

from __future__ import annotations

import json

import click

from unbrick.cli.options.answer import json_flag
from unbrick.incidents.library import load_library


@click.command("list")
@json_flag("Print JSON, one document a line.")
def command(as_json: bool) -> None:
    """List the playbooks that come with unbrick.

    Example: unbrick playbook list
    """
    for playbook in load_library():
        if as_json:
            published = playbook.dates.published.isoformat()
            click.echo(json.dumps({"id": playbook.id, "title": playbook.title, "published": published}))
        else:
            click.echo(f"{playbook.id:24}  {playbook.title}")
