"""List the repairs recorded on a disk, undone or not; writes nothing."""

from __future__ import annotations

from pathlib import Path

import click

from unbrick.cli.options.disk_work import (
    disks_argument,
    keys_option,
    open_keys,
    open_station,
    output_options,
    station_option,
    work_on_disks,
)
from unbrick.cli.options.opening import format_option, ignore_option
from unbrick.disks.images.image import ImageFormat
from unbrick.recovery.case import Goal, Order


@click.command("runs")
@disks_argument
@keys_option
@format_option
@ignore_option
@station_option
@output_options
def command(
    disks: tuple[Path, ...],
    keys: tuple[str, ...],
    image_format: ImageFormat | None,
    ignored: str | None,
    station: Path | None,
    as_json: bool,
) -> None:
    """List the runs that lie on each DISK: when, by which medium, what was moved, undone or not.

    Writes nothing. A run is named by its id: unbrick undo DISK --run ID.

    Example: unbrick runs machine.img --keys keys.csv
    """
    link = open_station(station)
    orders = [
        Order(disk, Goal.RUNS, image_format=image_format, ignore_raid=ignored is not None) for disk in disks
    ]
    chain = open_keys(keys, ask_person=not as_json, link=link)
    work_on_disks(orders, keys=chain, yes=True, as_json=as_json, link=link)
