"""Show one playbook in full: what it looks for, and what it would do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from unbrick.cli.options.answer import json_flag
from unbrick.errors import UsageError
from unbrick.incidents.library import find_playbook, load_library, load_playbook
from unbrick.incidents.playbook import Playbook
from unbrick.incidents.schema import json_schema, to_document
from unbrick.text import counted


@click.command("show")
@click.argument("name", required=False, metavar="ID|FILE")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a playbook file instead.")
@json_flag("Print JSON, one document a line.")
def command(name: str | None, schema: bool, as_json: bool) -> None:
    """Show one playbook in full: what it looks for, and what it would do.

    Of your own, name the file, which ends in .yaml.

    Example: unbrick playbook show crowdstrike-cf291
    """
    if schema:
        click.echo(json.dumps(json_schema(), indent=None if as_json else 2))
        return
    if name is None:
        raise UsageError("which playbook?", hint="unbrick playbook list names them")
    playbook = load_playbook(Path(name)) if name.endswith(".yaml") else find_playbook(load_library(), name)
    if as_json:
        click.echo(json.dumps(to_document(playbook)))
    else:
        click.echo("\n".join(_lines(playbook)))


def _lines(playbook: Playbook) -> Iterator[str]:
    document = to_document(playbook)
    yield f"{playbook.title}  [{playbook.id}]"
    yield f"published {playbook.dates.published}"
    yield from (f"  {address}" for address in playbook.references)
    limits = playbook.limits
    yield f"moves at most {counted(limits.files, 'file')} and {limits.bytes} bytes on one Windows"
    for name, value in document.get("requires", {}).items():
        yield f"only where one of these {name} is present: {', '.join(value)}"
    for number, rule in enumerate(document["rules"], 1):
        action = f", {rule['action']}" if "action" in rule else ""
        yield f"\n{number}. {rule['verdict']}{action}: {rule['path']}"
        yield from (f"     {text}" for text in _conditions(rule.get("when", {})))
        yield f"   {rule['explanation']}"


def _conditions(when: dict[str, Any]) -> Iterator[str]:
    for name, value in when.items():
        if isinstance(value, dict):
            value = ", ".join(f"{key} {one}" for key, one in value.items())
        elif isinstance(value, list):
            value = " or ".join(value)
        yield f"{name}: {json.dumps(value) if isinstance(value, bool) else value}"
