"""Make boot media and sticks, sign their settings, boot over the network.

Never touches a disk of a machine.
Read `build.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("media", cls=VerbGroup, package=__name__)
def command() -> None:
    """Make boot media and sticks, sign their settings, boot over the network.

    Example: unbrick media write /dev/sdb --image unbrick.iso --station unbrick.yaml
    """
