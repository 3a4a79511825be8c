"""Say what is wrong with a disk; writes nothing."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.disk_work import (
    disks_argument,
    keys_option,
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


@click.command("diagnose")
@disks_argument
@keys_option
@playbooks_option
@format_option
@ignore_option
@station_option
@output_options
def command(
    disks: tuple[Path, ...],
    keys: tuple[str, ...],
    playbooks: tuple[Path, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    station: Path | None,
    as_json: bool,
) -> None:
    """Say what is wrong with each DISK; writes nothing.

    Exit code 3 means a fault was found, 0 that none was, 4 that a key is missing, 5 that a person is needed,
    also where that is so only for a repair (a hibernated Windows, a full volume).

    Example: unbrick diagnose machine.img --keys keys.csv
    """
    link = open_station(station)
    known = open_playbooks(playbooks, link)
    orders = [
        Order(disk, Goal.DIAGNOSE, image_format=image_format, ignore_raid=ignored is not None)
        for disk in disks
    ]
    chain = open_keys(keys, ask_person=not as_json, link=link)
    work_on_disks(orders, keys=chain, yes=True, as_json=as_json, link=link, playbooks=known)
