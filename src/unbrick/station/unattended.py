"""The work on every disk of this machine, one after the other, without a person.

Disks that appear while others are worked on are worked on too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from unbrick.events.event import Listener
from unbrick.keys.chain import KeyChain
from unbrick.model import DiskReport
from unbrick.recovery.case import Confirm, Goal, Order
from unbrick.recovery.isolated import recover_isolated
from unbrick.station.stick.settings import Settings, playbooks_of
from unbrick.station.targets import Target
from unbrick.station.telling.reports import Reports


@dataclass(frozen=True)
class Visit:
    """What the work on each disk needs. `tell` is given each report; `confirm` is asked before writing.

    `fault` is given a mistake of our own, which becomes the report of that disk: the others are worked on.
    """

    settings: Settings
    medium: str
    keys: KeyChain
    reports: Reports
    listeners: Sequence[Listener]
    tell: Callable[[DiskReport], None]
    fault: Callable[[Exception], None]
    confirm: Confirm | None = None

    def work_on(self, target: Target, *, discard: bool = False, goal: Goal = Goal.REPAIR) -> DiskReport:
        """Recover one disk, or only look where the settings allow no more.

        `discard` gives up what a hibernated Windows saved, or a journal that cannot be replayed.
        """
        goal = Goal.DIAGNOSE if self.settings.only_looks else goal
        report = recover_isolated(
            Order(target.path, goal, discard_hibernation=discard, reset_log=discard),
            self.keys,
            confirm=self.confirm,
            link=self.reports,
            listeners=self.listeners,
            playbooks=partial(playbooks_of, self.settings),
            medium=self.medium,
            on_fault=self.fault,
        )
        report = replace(report, notes=(*target.notes, *report.notes))
        self.tell(report)
        return report


def work_on_all(
    find: Callable[[], Sequence[Target]], work_on: Callable[[Target], DiskReport]
) -> list[DiskReport]:
    """Work on every disk there is, until no new one turns up."""
    reports: list[DiskReport] = []
    done: set[Path] = set()
    while fresh := [target for target in find() if target.path not in done]:
        for target in fresh:
            done.add(target.path)
            reports.append(work_on(target))
    return reports
