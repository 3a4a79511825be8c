"""Delete a repair's quarantine for good: it can then not be put back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from unbrick.cli.options.disk_work import (
    consent_options,
    disk_path,
    keys_option,
    opening_options,
    output_options,
    playbooks_option,
    work_on_disks,
)
from unbrick.recovery.case import Goal


@click.command("purge")
@click.argument("disk", metavar="DISK", type=disk_path)
@click.option("--run", metavar="ID", required=True, help="The run; unbrick runs DISK lists them.")
@keys_option
@consent_options
@playbooks_option
@opening_options
@output_options
def command(disk: Path, **given: Any) -> None:
    """Delete the files that a repair moved to the quarantine of DISK, and its journal, for good.

    No repair and no undo ever does this. Only a run whose journal can be believed, and only its own files:
    what else lies beside them stops it. Asks before writing, unless --yes.

    Example: unbrick purge machine.img --run 20240719T061203Z-8f3a1c
    """
    work_on_disks(Goal.PURGE, disks=(disk,), **given)
