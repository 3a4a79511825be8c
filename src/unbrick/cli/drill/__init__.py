"""Make a simulated bricked fleet, and recover it.

Never touches anything outside the folder that was named.
Read `run.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.verb_group import VerbGroup


@click.group("drill", cls=VerbGroup, package=__name__)
def command() -> None:
    """Practise on simulated machines, made with real NTFS and real BitLocker.

    Example: unbrick drill new practice --machines 3 --bitlocker xts-128
    """
