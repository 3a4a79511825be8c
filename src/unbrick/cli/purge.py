"""Delete a repair's quarantine for good: it can then not be put back."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.disk_work import (
    disk_path,
    dry_run_option,
    keys_option,
    open_keys,
    open_playbooks,
    output_options,
    playbooks_option,
    require_consent,
    work_on_disks,
    yes_option,
)
from unbrick.cli.options.opening import format_option, ignore_option
from unbrick.disks.images.image import ImageFormat
from unbrick.recovery.case import Goal, Order


@click.command("purge")
@click.argument("disk", metavar="DISK", type=disk_path)
@click.option("--run", "run", metavar="ID", required=True, help="The run; unbrick runs DISK lists them.")
@keys_option
@dry_run_option
@yes_option
@playbooks_option
@format_option
@ignore_option
@output_options
def command(
    disk: Path,
    run: str,
    keys: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    playbooks: tuple[Path, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    as_json: bool,
) -> None:
    """Delete the files that a repair moved to the quarantine of DISK, and its journal, for good.

    No repair and no undo ever does this. Only a run whose journal can be believed, and only its own files:
    what else lies beside them stops it. Asks before writing, unless --yes.

    Example: unbrick purge machine.img --run 20240719T061203Z-8f3a1c
    """
    require_consent(yes=yes, dry_run=dry_run)
    known = open_playbooks(playbooks, None)
    order = Order(
        disk,
        Goal.PURGE,
        dry_run=dry_run,
        run=run,
        image_format=image_format,
        ignore_raid=ignored is not None,
    )
    chain = open_keys(keys, ask_person=not as_json)
    work_on_disks([order], keys=chain, yes=yes, as_json=as_json, playbooks=known)
