"""Count every machine, once, over SSH; the dashboard.

Never touches a disk of a machine.
Read `init.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup
from unbrick.errors import FailedError, Reason


class _TallyGroup(VerbGroup):
    """The tally's libraries are optional: a medium has no use for them."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in {"asyncssh", "sqlalchemy"}:
                raise
            raise FailedError(
                f"the library {error.name} is not installed",
                hint="install unbrick with its tally: pip install 'unbrick[tally]'",
                reason=Reason.MISSING_TOOL,
            ) from error


@click.group("tally", cls=_TallyGroup, package=__name__)
def command() -> None:
    """Count every machine, once, over SSH: the tally, its stations and its dashboard.

    Example: unbrick tally init tally --address tally.example.org:2291
    """
