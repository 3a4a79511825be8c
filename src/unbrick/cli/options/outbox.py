"""The outbox that a verb is given by `--station`, and how it answers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from unbrick.cli.options.disk_work import tell
from unbrick.report.outbox import DEFAULT_FOLDER, Outbox, outbox_folder
from unbrick.settings.station_file import load_station

if TYPE_CHECKING:
    pass

json_option = click.option("--json", "as_json", is_flag=True, help="One JSON document.")


def open_outbox(station: Path | None) -> Outbox:
    """The outbox of a station; without one, that of this computer.

    The station's key is not looked at: where it is damaged, what waits can still be carried to the tally.
    """
    if station is None:
        return Outbox(DEFAULT_FOLDER, tell)
    load_station(station)
    return Outbox(outbox_folder(station), tell)
