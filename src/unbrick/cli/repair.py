"""Take the fault away, so that it can be put back."""

from __future__ import annotations

from typing import Any

import click

from unbrick.cli.options.disk_work import (
    consent_options,
    disk_options,
    disks_argument,
    keys_option,
    playbooks_option,
    work_on_disks,
)
from unbrick.recovery.case import Goal


@click.command("repair")
@disks_argument
@keys_option
@consent_options
@click.option(
    "--discard-hibernation",
    is_flag=True,
    help="Give up the session that Windows saved when it hibernated; unsaved work in it is lost.",
)
@click.option(
    "--reset-log",
    is_flag=True,
    help="Where the NTFS journal cannot be replayed, drop it and let Windows check the volume.",
)
@playbooks_option
@disk_options
def command(**given: Any) -> None:
    """Take the fault of each DISK away: faulty files move to a quarantine on the same volume.

    Nothing is deleted; `unbrick undo` puts everything back. Asks before writing, unless --yes.

    Example: unbrick repair machine.img --keys keys.csv --yes
    """
    work_on_disks(Goal.REPAIR, **given)
