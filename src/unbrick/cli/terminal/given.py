"""The command line to type next: it has the options that were given, where the next verb takes them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib import import_module

import click
from click.core import ParameterSource

from unbrick.cli.terminal.wording import plain
from unbrick.text import printable

_OF_THIS_RUN_ONLY = {"dry_run", "yes", "as_json", "run"}


def with_given(verb: str, disk: str) -> str:
    """`unbrick VERB DISK` and what was said besides, as it can be pasted into a shell."""
    return " ".join([plain(verb, disk), *map(shlex.quote, _given_options(verb))])


def _given_options(verb: str) -> Iterator[str]:
    context = click.get_current_context()
    taken = {parameter.name for parameter in import_module(f"unbrick.cli.{verb}").command.params}
    for option in context.command.params:
        name = option.name
        if not isinstance(option, click.Option) or name not in context.params:
            continue
        if name is None or name not in taken - _OF_THIS_RUN_ONLY:
            continue
        if context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        for one in value if option.multiple else (value,):
            yield option.opts[0]
            if not option.is_flag:
                yield printable(str(one))
