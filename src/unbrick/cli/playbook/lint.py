"""Check playbook files of your own; says file, line and what was expected."""

from __future__ import annotations

import json
from pathlib import Path

import click

from unbrick.cli.options.answer import PATH, json_flag
from unbrick.cli.terminal.manners import say
from unbrick.errors import UsageError
from unbrick.incidents.library import Collection, read_playbook_file
from unbrick.settings.strict import StrictError
from unbrick.text import printable


@click.command("lint")
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=PATH)
@json_flag("Print JSON, one document a line.")
def command(files: tuple[Path, ...], as_json: bool) -> None:
    """Check playbook files of your own; says file, line and what was expected.

    Exits with 0 where all are right, with 2 where one is not.

    Example: unbrick playbook lint my-incident.yaml
    """
    collection = Collection()
    refused = [file for file in files if not _lint(file, collection, as_json=as_json)]
    if refused:
        click.get_current_context().exit(UsageError.exit_code)


def _lint(file: Path, collection: Collection, *, as_json: bool) -> bool:
    """Whether a file is right beside the library and the files before it."""
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
