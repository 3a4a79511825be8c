"""A group of verbs is a folder in which each file is a verb, and each folder a group.

The verb `x` is `command` in `x.py`; the group's `--help` shows the first line of that file's docstring. Only
the verb that is run is loaded: start-up time counts on a stick.
"""

from __future__ import annotations

import importlib
import importlib.util
import keyword
import pkgutil
from importlib.abc import InspectLoader
from typing import Any

import click

from unbrick.cli.terminal.manners import with_color


class VerbGroup(click.Group):
    """`package` is the folder's dotted name; the modules in `besides` are no verbs."""

    def __init__(
        self, *arguments: Any, package: str, besides: frozenset[str] = frozenset(), **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._package = package
        self._besides = besides

    def list_commands(self, ctx: click.Context) -> list[str]:
        modules = {one.name for one in pkgutil.iter_modules(importlib.import_module(self._package).__path__)}
        return sorted(name.removesuffix("_") for name in modules - self._besides)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(self._module(cmd_name)).command
        assert isinstance(command, click.Command)
        return with_color(command)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._line(name)) for name in self.list_commands(ctx)])

    def _module(self, verb: str) -> str:
        # A module cannot be called `import`; Python's own way out is an underscore.
        return f"{self._package}.{verb}_" if keyword.iskeyword(verb) else f"{self._package}.{verb}"

    def _line(self, verb: str) -> str:
        # Read from the compiled module: a medium has no source. A docstring is the first constant.
        spec = importlib.util.find_spec(self._module(verb))
        assert spec is not None
        assert isinstance(spec.loader, InspectLoader)
        code = spec.loader.get_code(spec.name)
        assert code is not None
        return str(code.co_consts[0]).partition("\n")[0]
