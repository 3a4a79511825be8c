"""List a disk's volumes, protectors and installations; writes nothing."""

from __future__ import annotations

from typing import Any

import click

from unbrick.cli.options.disk_work import disk_options, disks_argument, playbooks_option, work_on_disks
from unbrick.recovery.case import Goal


@click.command("scan")
@disks_argument
@playbooks_option
@disk_options
def command(**given: Any) -> None:
    """List the volumes, protectors and installations of each DISK; writes nothing.

    DISK is a block device, or a raw, qcow2, vhdx or vmdk image.

    Example: unbrick scan /dev/nvme0n1 --json
    """
    work_on_disks(Goal.SCAN, **given)
