"""List the playbooks that come with unbrick."""

from __future__ import annotations

import json

import click

from unbrick.cli.options.answer import json_lines_option
from unbrick.incidents.library import load_library


@click.command("list")
@json_lines_option
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
