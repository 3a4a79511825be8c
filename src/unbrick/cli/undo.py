"""Put back exactly what a repair took away."""

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


@click.command("undo")
@disks_argument
@click.option("--run", "run", metavar="ID", help="The repair to take back; default: the newest one.")
@keys_option
@dry_run_option
@yes_option
@playbooks_option
@format_option
@ignore_option
@station_option
@output_options
def command(
    disks: tuple[Path, ...],
    run: str | None,
    keys: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    playbooks: tuple[Path, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    station: Path | None,
    as_json: bool,
) -> None:
    """Put back exactly what a repair took away from each DISK.

    Bytes, names, times, permissions and streams come back as they were. Asks before writing, unless --yes.

    Example: unbrick undo machine.img --yes
    """
    require_consent(yes=yes, dry_run=dry_run)
    link = open_station(station)
    known = open_playbooks(playbooks, link)
    orders = [
        Order(
            disk,
            Goal.UNDO,
            dry_run=dry_run,
            run=run,
            image_format=image_format,
            ignore_raid=ignored is not None,
        )
        for disk in disks
    ]
    chain = open_keys(keys, ask_person=not as_json, link=link)
    work_on_disks(orders, keys=chain, yes=yes, as_json=as_json, link=link, playbooks=known)
