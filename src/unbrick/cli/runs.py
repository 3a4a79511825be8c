"""List the repairs recorded on a disk, undone or not; writes nothing."""

from __future__ import annotations

from typing import Any

import click

from unbrick.cli.options.disk_work import disk_options, disks_argument, keys_option, work_on_disks
from unbrick.recovery.case import Goal


@click.command("runs")
@disks_argument
@keys_option
@disk_options
def command(**given: Any) -> None:
    """List the runs that lie on each DISK: when, by which medium, what was moved, undone or not.

    Writes nothing. A run is named by its id: unbrick undo DISK --run ID.

    Example: unbrick runs machine.img --keys keys.csv
    """
    work_on_disks(Goal.RUNS, **given)
