"""Take the fault away, so that it can be put back."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.disk_work import (
    disks_argument,
    dry_run_option,
    keys_option,
    open_keys,
    open_playbooks,
    open_station,
    output_options,
    playbooks_option,
    require_consent,
    station_option,
    work_on_disks,
    yes_option,
)
from unbrick.cli.options.opening import format_option, ignore_option
from unbrick.disks.images.image import ImageFormat
from unbrick.recovery.case import Goal, Order


@click.command("repair")
@disks_argument
@keys_option
@dry_run_option
@yes_option
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
@format_option
@ignore_option
@station_option
@output_options
def command(
    disks: tuple[Path, ...],
    keys: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    discard_hibernation: bool,
    reset_log: bool,
    playbooks: tuple[Path, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    station: Path | None,
    as_json: bool,
) -> None:
    """Take the fault of each DISK away: faulty files move to a quarantine on the same volume.

    Nothing is deleted; `unbrick undo` puts everything back. Asks before writing, unless --yes.

    Example: unbrick repair machine.img --keys keys.csv --yes
    """
    require_consent(yes=yes, dry_run=dry_run)
    link = open_station(station)
    known = open_playbooks(playbooks, link)
    orders = [
        Order(
            disk,
            Goal.REPAIR,
            dry_run=dry_run,
            discard_hibernation=discard_hibernation,
            reset_log=reset_log,
            image_format=image_format,
            ignore_raid=ignored is not None,
        )
        for disk in disks
    ]
    chain = open_keys(keys, ask_person=not as_json, link=link)
    work_on_disks(orders, keys=chain, yes=yes, as_json=as_json, link=link, playbooks=known)
