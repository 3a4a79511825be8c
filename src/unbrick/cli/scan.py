"""List a disk's volumes, protectors and installations; writes nothing."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.disk_work import (
    disks_argument,
    open_keys,
    open_playbooks,
    open_station,
    output_options,
    playbooks_option,
    station_option,
    work_on_disks,
)
from unbrick.cli.options.opening import format_option, ignore_option
from unbrick.disks.images.image import ImageFormat
from unbrick.recovery.case import Goal, Order


@click.command("scan")
@disks_argument
@playbooks_option
@format_option
@ignore_option
@station_option
@output_options
def command(
    disks: tuple[Path, ...],
    playbooks: tuple[Path, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    station: Path | None,
    as_json: bool,
) -> None:
    """List the volumes, protectors and installations of each DISK; writes nothing.

    DISK is a block device, or a raw, qcow2, vhdx or vmdk image.

    Example: unbrick scan /dev/nvme0n1 --json
    """
    link = open_station(station)
    known = open_playbooks(playbooks, link)
    orders = [
        Order(disk, Goal.SCAN, image_format=image_format, ignore_raid=ignored is not None) for disk in disks
    ]
    work_on_disks(
        orders, keys=open_keys((), ask_person=False), yes=True, as_json=as_json, link=link, playbooks=known
    )
