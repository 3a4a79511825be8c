"""A visit with somebody at the keyboard: the same work on each disk, with a question where one decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unbrick.keys.chain import KeyChain
from unbrick.keys.sources.source import KeySource
from unbrick.model import DiskReport, Status
from unbrick.recovery.case import Goal
from unbrick.station.leaving import already_repaired
from unbrick.station.questions import (
    Earlier,
    GuidedKeySource,
    ask_about_earlier_repair,
    ask_to_discard,
    confirm_plan,
)
from unbrick.station.targets import Target
from unbrick.station.telling.screens import Screens
from unbrick.station.unattended import Visit

_DMI = Path("/sys/class/dmi/id")
_ON_THE_CASE = ("sys_vendor", "product_name", "product_serial")


def read_hardware(folder: Path = _DMI) -> str | None:
    """What stands on the case: maker, model, serial number; None where the firmware does not say."""
    words = []
    for name in _ON_THE_CASE:
        try:
            text = (folder / name).read_text(errors="replace").strip()
        except OSError:
            continue
        if text and text.isprintable():
            words.append(text[:64])
    return ", ".join(words) or None


class GuidedVisit:
    """Works on one disk at a time, and asks on the screen."""

    def __init__(self, visit: Visit, screens: Screens, keys: Sequence[KeySource]) -> None:
        """Ask on these screens; `keys` are tried before the person is asked for a recovery password."""
        hardware = read_hardware()
        self._screens = screens
        visit = replace(visit, keys=KeyChain([*keys, GuidedKeySource(screens)]))
        self._visit = replace(visit, confirm=confirm_plan(screens, hardware))
        self._undoing = replace(visit, confirm=confirm_plan(screens, hardware, undoing=True))

    def work_on(self, target: Target) -> DiskReport:
        """Recover one disk; what was repaired before can be taken back, what hinders can be given up."""
        report = self._visit.work_on(target)
        if self._visit.settings.only_looks:  # whatever the answers, nothing may be written
            return report
        while (already := already_repaired(report)) is not None and report.status is Status.HEALTHY:
            name = next(iter(report.machine.hostnames), "This computer")
            answer = ask_about_earlier_repair(self._screens, name, already)
            if answer is Earlier.RESTART:
                return report
            if answer is Earlier.UNDO:
                return self._undoing.work_on(target, goal=Goal.UNDO)
            report = self._visit.work_on(target)
        if ask_to_discard(self._screens, report):
            return self._visit.work_on(target, discard=True)
        return report
