"""What unbrick looks for, and checks for your own playbooks.

Never touches a disk.
Read `show.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("playbook", cls=VerbGroup, package=__name__)
def command() -> None:
    """What unbrick looks for: one playbook an incident, as data.

    Example: unbrick playbook show crowdstrike-cf291
    """
