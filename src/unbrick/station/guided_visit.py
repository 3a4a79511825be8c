"""A visit with somebody at the keyboard: the same work on each disk, with a question where one decides.

As few questions as can be. Looking needs none, as it changes nothing; before anything is written there
is one: is this the computer, and may it be repaired?
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from enum import Enum, auto
from pathlib import Path

from unbrick.errors import Reason
from unbrick.keys.chain import KeyChain
from unbrick.keys.sources.source import Candidate, KeySource
from unbrick.model import Action, DiskReport, Status
from unbrick.recovery.case import Goal
from unbrick.repair.actions.kinds import KINDS
from unbrick.station.ending.case import already_repaired
from unbrick.station.machine.small_files import text_of
from unbrick.station.targets import Target
from unbrick.station.telling.screens import Question, Screens
from unbrick.station.unattended import Visit
from unbrick.text import counted

_DMI = Path("/sys/class/dmi/id")
_ON_THE_CASE = ("sys_vendor", "product_name", "product_serial")
_MOST_FILES = 3


class GuidedVisit:
    """Works on one disk at a time, and asks on the screen; `keys` are tried before the person is asked."""

    def __init__(self, visit: Visit, screens: Screens, keys: Sequence[KeySource]) -> None:
        hardware = read_hardware()
        self._screens = screens
        visit = replace(visit, keys=KeyChain([*keys, GuidedKeySource(screens)]))
        self._visit = replace(visit, confirm=confirm_plan(screens, hardware))
        self._undoing = replace(visit, confirm=confirm_plan(screens, hardware, undoing=True))

    def work_on(self, target: Target) -> DiskReport:
        """Recover one disk; an earlier repair can be undone, and what Windows keeps can be given up."""
        report = self._visit.work_on(target)
        if self._visit.settings.only_looks:  # nothing may be written
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


class GuidedKeySource:
    """Asks the person in front of the machine, until it opens or they say that they do not have it."""

    name = "the keyboard"
    interactive = True
    warnings: tuple[str, ...] = ()

    def __init__(self, screens: Screens) -> None:
        self._screens = screens

    def find(self, protector_ids: Sequence[str]) -> Iterator[Candidate]:
        tried_wrong = False
        while True:
            password = self._screens.ask_password(protector_ids, tried_wrong=tried_wrong)
            if password is None:
                return
            self._screens.progress("Trying the recovery key")
            yield Candidate(None, password, self.name)
            tried_wrong = True


def read_hardware(folder: Path = _DMI) -> str | None:
    """What is printed on the case: maker, model, serial number; None where the firmware does not know."""
    words = []
    for name in _ON_THE_CASE:
        word = text_of(folder / name)
        if word and word.isprintable():
            words.append(word[:64])
    return ", ".join(words) or None


def confirm_plan(
    screens: Screens, hardware: str | None = None, *, undoing: bool = False
) -> Callable[[DiskReport], bool]:
    """A `Kit.confirm`, which shows the machine and the plan, and asks; `hardware` is that of the case."""

    def confirm(report: DiskReport) -> bool:
        return screens.ask(_about_the_plan(report, hardware, undoing=undoing)) == 0

    return confirm


def _about_the_plan(report: DiskReport, hardware: str | None, *, undoing: bool) -> Question:
    names = dict.fromkeys(
        one.hostname for one in report.installations if one.hostname and one.actions
    ) or dict.fromkeys(report.machine.hostnames)
    called = " and ".join(names) or "a computer without a name"
    actions = [action for one in report.installations for action in one.actions]
    who = f"This is {called}." if not hardware else f"This is {called} ({hardware})."
    title, sentences, yes = _words_for(actions, undoing=undoing)
    return Question(title, (who, *sentences), (yes, "No, leave it as it is"), next(iter(names), None))


def _words_for(actions: Sequence[Action], *, undoing: bool) -> tuple[str, tuple[str, ...], str]:
    """Title, sentences and consent of the question; without an action only what was cut off is finished."""
    if not actions:
        sentences = (
            "An earlier visit was cut off in the middle of its work.",
            "What it had begun is finished now. Nothing else is changed.",
        )
        return "Finish it?", sentences, "Yes, this is the computer: finish it"
    if undoing:
        return "Put back?", tuple(_asked(actions, undoing=True)), "Yes, put back"
    return "Repair it?", tuple(_asked(actions, undoing=False)), "Yes, this is the computer: repair it"


def _asked(actions: Sequence[Action], *, undoing: bool) -> Iterator[str]:
    for kind in dict.fromkeys(action.kind for action in actions):
        words = KINDS[kind].WORDS
        names = [one.path.rpartition("\\")[2] for one in actions if one.kind == kind]
        more = f" and {len(names) - _MOST_FILES} more" if len(names) > _MOST_FILES else ""
        what = f"{counted(len(names), words.noun)} ({', '.join(names[:_MOST_FILES])}{more})"
        for sentence in words.ask_undo if undoing else words.ask_repair:
            yield sentence.format(what=what, them="it" if len(names) == 1 else "them")


class Earlier(Enum):
    """What to do with a machine that was repaired before."""

    RESTART = auto()
    LOOK_AGAIN = auto()
    UNDO = auto()


def ask_about_earlier_repair(screens: Screens, machine: str, already: str) -> Earlier:
    """Ask what to do with a machine that `already` says was repaired (`2026-11-25 by medium 0123…`)."""
    question = Question(
        "Repaired",
        (f"{machine} was already repaired: {already}.",),
        ("Start Windows", "Look again, it does not start", "Take that repair back"),
        machine,
    )
    answers = (Earlier.RESTART, Earlier.LOOK_AGAIN, Earlier.UNDO)
    return answers[screens.ask(question)]


_DISCARDING = {
    Reason.HIBERNATED: (
        "Asleep",
        (
            "Windows on this computer is asleep, perhaps with somebody's unsaved work.",
            "To repair it now, what was not saved is lost. Ask its owner or the helpdesk first.",
        ),
        "Give up the unsaved work and repair it",
    ),
    Reason.UNCLEAN_LOG: (
        "Cut off",
        (
            "Windows stopped in the middle of writing to this disk.",
            "To repair it now, the last things it wrote may be lost. Ask the helpdesk first.",
        ),
        "Give up what was being written and repair it",
    ),
}


def ask_to_discard(screens: Screens, report: DiskReport) -> bool:
    """Whether to give up what Windows kept: for a report whose reason is `hibernated` or `unclean-log`.

    No for any other reason, without asking.
    """
    found = next((one for reason, one in _DISCARDING.items() if reason == report.reason), None)
    if found is None:
        return False
    title, lines, consent = found
    machine = next(iter(report.machine.hostnames), None)
    return screens.ask(Question(title, lines, ("Leave it as it is", consent), machine)) == 1
