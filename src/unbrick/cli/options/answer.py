"""How a verb answers: lines for a person, on stdout or stderr, or one document for a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from unbrick.cli.terminal.manners import say
from unbrick.text import printable

PATH = click.Path(path_type=Path)


def json_flag(help_: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option("--json", "as_json", is_flag=True, help=help_)


json_option = json_flag("One JSON document.")


def tell(line: str) -> None:
    """A line on stdout, with nothing in it that a terminal would act on."""
    say(printable(line))


def warn(line: str) -> None:
    """A line on stderr, whatever the words in it came from."""
    say(f"unbrick: {printable(line)}", err=True)


def advise(line: str) -> None:
    """What to do about what was just warned of."""
    say(f"  what to do: {printable(line)}", err=True)


def answer(document: Mapping[str, Any], lines: Iterable[str], *, as_json: bool) -> None:
    """The one document, or the lines."""
    if as_json:
        click.echo(json.dumps(document))
    else:
        for line in lines:
            tell(line)
