"""Reports that wait until the tally has them.

Never loses a report that the tally has not acknowledged.
Read `send.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("outbox", cls=VerbGroup, package=__name__)
def command() -> None:
    """Reports that wait until the tally has them.

    Example: unbrick outbox send --station unbrick.yaml
    """
