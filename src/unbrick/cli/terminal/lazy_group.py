"""A group of verbs of which only the one that was asked for is loaded: start-up time counts on a stick."""

from __future__ import annotations

import importlib
import keyword
from collections.abc import Mapping
from typing import Any

import click

from unbrick.cli.terminal.manners import with_color


class LazyGroup(click.Group):
    """`verbs` are names with a line each; the verb `x` is `command` in the module `prefix` + `x`."""

    def __init__(self, *arguments: Any, verbs: Mapping[str, str], prefix: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._verbs = verbs
        self._prefix = prefix

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every verb, in alphabetical order."""
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The verb's command, from its own file."""
        if cmd_name not in self._verbs:
            return None
        # A module cannot be called `import`; Python's own way out is an underscore.
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command = importlib.import_module(self._prefix + module).command
        assert isinstance(command, click.Command)
        return with_color(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with a line each, without loading them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(self._verbs.items()))
