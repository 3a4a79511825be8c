"""How a verb answers: lines for a person, on stdout or stderr, or `--json`."""

from __future__ import annotations

import click

from unbrick.cli.terminal.manners import say
from unbrick.text import printable

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")
json_lines_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, one document a line.")


def tell(line: str) -> None:
    """A line to the reader, with nothing in it that a terminal would act on."""
    say(printable(line))


def warn(line: str) -> None:
    """A line on stderr, whatever the words in it came from."""
    say(f"unbrick: {printable(line)}", err=True)
