"""The outbox that a verb is given by `--station`, and how it answers."""

from __future__ import annotations

from pathlib import Path

from unbrick.cli.options.answer import warn
from unbrick.report.outbox import DEFAULT_FOLDER, Outbox, outbox_folder
from unbrick.settings.station_file import load_station


def open_outbox(station: Path | None) -> Outbox:
    """The outbox of a station; without one, that of this computer.

    The station's key is not looked at: where it is damaged, what waits can still be carried to the tally.
    """
    if station is None:
        return Outbox(DEFAULT_FOLDER, warn)
    load_station(station)
    return Outbox(outbox_folder(station), warn)
