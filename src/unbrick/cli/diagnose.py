"""Say what is wrong with a disk; writes nothing."""

from __future__ import annotations

from typing import Any

import click

from unbrick.cli.options.disk_work import (
    disk_options,
    disks_argument,
    keys_option,
    playbooks_option,
    work_on_disks,
)
from unbrick.recovery.case import Goal


@click.command("diagnose")
@disks_argument
@keys_option
@playbooks_option
@disk_options
def command(**given: Any) -> None:
    """Say what is wrong with each DISK; writes nothing.

    Exit code 3 means a fault was found, 0 that none was, 4 that a key is missing, 5 that a person is needed,
    also where that is so only for a repair (a hibernated Windows, a full volume).

    Example: unbrick diagnose machine.img --keys keys.csv
    """
    work_on_disks(Goal.DIAGNOSE, **given)
