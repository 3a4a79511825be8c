"""The questions of a guided visit, and the person at the keyboard as a key source: as few as can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto

from unbrick.keys.source import Candidate
from unbrick.model import DiskReport
from unbrick.station.screens import Screens


class GuidedKeySource:
    """Asks the person in front of the machine, until it opens or they say that they do not have it."""

    def __init__(self, screens: Screens, volume: str = "This disk") -> None:
        self._screens = screens
        self._volume = volume

    @property
    def name(self) -> str:
        """See `KeySource.name`."""
        return "the keyboard"

    @property
    def interactive(self) -> bool:
        """See `KeySource.interactive`."""
        return True

    @property
    def warnings(self) -> tuple[str, ...]:
        """See `KeySource.warnings`."""
        return ()

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        """See `KeySource.find`."""
        raise NotImplementedError


def confirm_plan(screens: Screens, hardware: str | None = None) -> Callable[[DiskReport], bool]:
    """What `Kit.confirm` takes: shows machine and plan, and asks. `hardware`: maker, model, serial."""
    raise NotImplementedError


class Earlier(Enum):
    """What to do with a machine that was repaired before."""

    RESTART = auto()
    LOOK_AGAIN = auto()
    UNDO = auto()


def ask_about_earlier_repair(screens: Screens, machine: str, already: str) -> Earlier:
    """Ask what to do with a machine that `already` says was repaired (`2026-11-25 by medium 0123…`)."""
    raise NotImplementedError


def ask_to_discard(screens: Screens, report: DiskReport) -> bool:
    """Whether to give up what Windows kept: for a report whose reason is `hibernated` or `unclean-log`.

    No for any other reason, without asking.
    """
    raise NotImplementedError
