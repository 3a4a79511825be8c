"""`unbrick media`: what machines are booted from; each of its verbs has a file of its own.

Never touches a disk of a machine.
Read `build.py` first.
"""

from __future__ import annotations

import click

from unbrick.cli.terminal.lazy_group import LazyGroup

_VERBS = {
    "build": "Build the image that machines are booted from.",
    "netboot": "Make a folder to boot machines from over the network, and serve it.",
    "sign": "Sign settings and playbooks, so that stations act on them.",
    "verify": "Check every byte of an image or a stick against its signature.",
    "write": "Write a stick, with a partition UNBRICK that any PC can open.",
}


@click.group("media", cls=LazyGroup, verbs=_VERBS, prefix="unbrick.cli.media.")
def command() -> None:
    """Make boot media and sticks, sign their settings, boot over the network.

    Example: unbrick media write /dev/sdb --image unbrick.iso --station unbrick.yaml
    """
