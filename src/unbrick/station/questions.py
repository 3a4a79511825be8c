"""The questions of a guided visit, and the person at the keyboard as a key source: as few as can be.

Looking needs no question, as it changes nothing. One is asked before anything is written: is this the
computer, and shall it be repaired. Never decides by itself what only a person may.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto

from unbrick.errors import Reason
from unbrick.keys.sources.source import Candidate
from unbrick.model import Action, DiskReport
from unbrick.station.telling.screens import Question, Screens
from unbrick.text import counted

_MOST_FILES = 3


class GuidedKeySource:
    """Asks the person in front of the machine, until it opens or they say that they do not have it."""

    def __init__(self, screens: Screens, volume: str = "This disk") -> None:
        """Ask on these screens; `volume` is what they call what is locked."""
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
        """See `KeySource.find`: each password as it is typed; to be asked for the next says it was wrong."""
        tried_wrong = False
        while True:
            password = self._screens.ask_password(protector_ids, self._volume, tried_wrong=tried_wrong)
            if password is None:
                return
            self._screens.progress("Trying the recovery key")
            yield Candidate(None, password, self.name)
            tried_wrong = True


def confirm_plan(
    screens: Screens, hardware: str | None = None, *, undoing: bool = False
) -> Callable[[DiskReport], bool]:
    """What `Kit.confirm` takes: shows the machine and the plan, and asks.

    `hardware` is what stands on the case: maker, model, serial number.
    """

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
    them = "it" if len(actions) == 1 else "them"
    if not actions:
        sentences = (
            "An earlier visit was cut off in the middle of its work.",
            "What it had begun is finished now. Nothing else is changed.",
        )
        return "Finish it?", sentences, "Yes, this is the computer: finish it"
    if undoing:
        sentences = (
            f"An earlier repair took away {_files(actions)}.",
            f"Putting {them} back brings the fault back as well.",
        )
        return "Put back?", sentences, "Yes, put back"
    sentences = (
        f"It has the fault, in {_files(actions)}.",
        f"The repair moves {them} aside. Nothing is deleted, and all can be put back.",
    )
    return "Repair it?", sentences, "Yes, this is the computer: repair it"


def _files(actions: Sequence[Action]) -> str:
    """How many files, and the names of the first of them."""
    names = [action.path.rpartition("\\")[2] for action in actions]
    listed = ", ".join(names[:_MOST_FILES])
    more = len(names) - _MOST_FILES
    return f"{counted(len(names), 'file')} ({listed}{f' and {more} more' if more > 0 else ''})"


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
