"""What the last screen says: its colour, the machine, what Windows shows next, what to tell the helpdesk.

Pure: concluded from the reports and from what the station knows; draws nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from unbrick.model import DiskReport


class Colour(StrEnum):
    """The colour of the last screen."""

    GREEN = "green"
    AMBER = "amber"
    RED = "red"


@dataclass(frozen=True)
class EndingFacts:
    """What the station knows besides the reports.

    `finish` is what really happens now: `restart`, `power-off` or `wait` (for a key). `restart_way` is
    `boot-next`, `remove-stick` or `none`. `already` says when and by which medium the machine was repaired
    earlier; `only_looked` why nothing was changed, as half a sentence; `report_text` what a person can carry
    to the tally as a picture, where the reports are nowhere but in memory.
    """

    finish: str
    restart_way: str
    reports_waiting: int
    reports_on_stick: bool
    tally_known: bool
    already: str | None
    medium_id: str
    only_looked: str | None = None
    report_text: str | None = None


@dataclass(frozen=True)
class Ending:
    """The last screen in words. `code` is for a sticker; `qr` the text of the picture to photograph."""

    colour: Colour
    headline: str
    summary: str
    machine: str
    code: str
    next_in_windows: tuple[str, ...]
    to_do: tuple[str, ...]
    helpdesk: tuple[str, ...]
    qr: str | None


def ending_of(reports: Sequence[DiskReport], facts: EndingFacts) -> Ending:
    """The last screen for these disks of one machine: of several the worst counts, and all are listed."""
    raise NotImplementedError
