"""`unbrick playbook list|show|lint`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from unbrick.cli.terminal.manners import say
from unbrick.errors import UsageError
from unbrick.incidents.collection import Collection
from unbrick.incidents.library import find_playbook, load_library
from unbrick.incidents.loader import load_playbook, read_playbook_file
from unbrick.incidents.playbook import Playbook
from unbrick.incidents.schema import json_schema
from unbrick.incidents.writing import to_document
from unbrick.settings.strict import StrictError
from unbrick.text import printable

_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")


@click.group("playbook")
def command() -> None:
    """What unbrick looks for: one playbook an incident, as data.

    Example: unbrick playbook show crowdstrike-cf291
    """


@command.command("list")
@_json_option
def list_playbooks(as_json: bool) -> None:
    """List the playbooks that come with unbrick.

    Example: unbrick playbook list
    """
    for playbook in load_library():
        if as_json:
            published = playbook.dates.published.isoformat()
            click.echo(json.dumps({"id": playbook.id, "title": playbook.title, "published": published}))
        else:
            click.echo(f"{playbook.id:24}  {playbook.title}")


@command.command("show")
@click.argument("name", required=False, metavar="ID|FILE")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of a playbook file instead.")
@_json_option
def show(name: str | None, schema: bool, as_json: bool) -> None:
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


@command.command("lint")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(path_type=Path))
@_json_option
def lint(files: tuple[Path, ...], as_json: bool) -> None:
    """Check playbook files of your own; says file, line and what was expected.

    Exits with 0 where all are right, with 2 where one is not.

    Example: unbrick playbook lint my-incident.yaml
    """
    collection = Collection()
    refused = [file for file in files if not _lint(file, collection, as_json=as_json)]
    if refused:
        click.get_current_context().exit(UsageError.exit_code)


def _lint(file: Path, collection: Collection, *, as_json: bool) -> bool:
    """Check one file beside the library and the files before it, and say so; whether it is right."""
    try:
        playbook = collection.add(read_playbook_file(file), str(file))
    except StrictError as error:
        problems = [{"line": problem.line, "message": problem.message} for problem in error.problems]
        if as_json:
            click.echo(json.dumps({"file": str(file), "ok": False, "id": None, "problems": problems}))
        for problem in [] if as_json else error.problems:
            say(printable(f"{file}:{problem.line}: {problem.message}"), err=True)
        return False
    if as_json:
        click.echo(json.dumps({"file": str(file), "ok": True, "id": playbook.id, "problems": []}))
    else:
        click.echo(printable(f"{file}: {playbook.id} is right"))
    return True


def _lines(playbook: Playbook) -> Iterator[str]:
    document = to_document(playbook)
    yield f"{playbook.title}  [{playbook.id}]"
    yield f"published {playbook.dates.published}"
    yield from (f"  {address}" for address in playbook.references)
    yield f"moves at most {playbook.limits.files} files and {playbook.limits.bytes} bytes on one Windows"
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
