"""The machines that are expected.

Never touches a disk of a machine.
Read `import_.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("inventory", cls=VerbGroup, package=__name__)
def command() -> None:
    """The machines that are expected.

    Example: unbrick tally inventory import tally inventory.csv
    """
