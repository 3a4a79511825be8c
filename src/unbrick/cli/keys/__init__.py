"""The verbs about BitLocker recovery passwords, before any disk is there.

Never prints a password.
Read `check.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("keys", cls=VerbGroup, package=__name__)
def command() -> None:
    """BitLocker recovery passwords: check what an escrow exported.

    Example: unbrick keys check keys.csv --inventory machines.csv
    """
