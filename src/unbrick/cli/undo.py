"""Put back exactly what a repair took away."""

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


@click.command("undo")
@disks_argument
@click.option("--run", metavar="ID", help="The repair to take back; default: the newest one.")
@keys_option
@consent_options
@playbooks_option
@disk_options
def command(**given: Any) -> None:
    """Put back exactly what a repair took away from each DISK.

    Bytes, names, times, permissions and streams come back as they were. Asks before writing, unless --yes.

    Example: unbrick undo machine.img --yes
    """
    work_on_disks(Goal.UNDO, **given)
