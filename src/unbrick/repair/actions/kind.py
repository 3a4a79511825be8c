"""What a kind of action has to do, so that runs, journals, undo and purge need not know the kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

from unbrick.errors import FailedError, Reason
from unbrick.events.event import EventKind
from unbrick.model import Action, ActionState, Finding, Touched
from unbrick.repair.trust import Authority

MOST_ACTIONS = 1000  # of one run; the widest playbook may ask for as many files


@dataclass(frozen=True)
class Words:
    """What a person reads of a kind of action.

    `looking`, `doing` and `undoing` complete "the volume ran full while …". `repair`, `undo` and `listed`
    precede an action's path: in the report of a repair, of an undo, and in the list of a disk's runs.

    At a machine, `ask_repair` and `ask_undo` are read before the question; they are filled in with `what` is
    touched (`2 files (a.sys, b.sys)`, counted by `noun`) and `them` (or `it`). `repaired` sums up
    what was done, and so does `partly` where something else is left for a person.
    """

    looking: str
    doing: str
    undoing: str
    repair: Mapping[ActionState, str]
    undo: Mapping[ActionState, str]
    listed: Mapping[ActionState, str]
    noun: str
    ask_repair: tuple[str, ...]
    ask_undo: tuple[str, ...]
    repaired: str
    partly: str


class ActionKind(Protocol):
    """A kind of action; an object of it is one action of a run, as the run's journal keeps it.

    `root` is a mounted volume, `folder` the run's own in its quarantine. All raise NeedsHandsError,
    FailedError and OSError; only `apply` and `undo` write, and always to a copy of the volume.
    """

    KIND: ClassVar[str]
    EVENT: ClassVar[EventKind]
    WORDS: ClassVar[Words]

    @property
    def quarantined(self) -> tuple[str, ...]:
        """The names of the files it has put into the run's folder."""

    @classmethod
    def plan(cls, findings: Sequence[Finding]) -> tuple[Action, ...]:
        """What it would do about those findings whose `action` asks for it; looks at nothing."""

    @classmethod
    def prepare(cls, root: Path, action: Action) -> Self:
        """All that doing and undoing a planned action needs. Raises where it is not as it was judged."""

    @classmethod
    def read(cls, data: dict[str, Any]) -> Self:
        """The reverse of `to_data`; hostile. Raises JournalError, nothing else."""

    def to_data(self) -> dict[str, Any]:
        """What the journal keeps of it, as JSON."""

    def to_action(self, state: ActionState) -> Action:
        """The action as a report has it."""

    def touched(self, root: Path, folder: Path) -> Touched: ...

    def touched_by_undo(self, root: Path, folder: Path) -> Touched: ...

    def apply(self, root: Path, folder: Path) -> None: ...

    def verify(self, root: Path, folder: Path) -> None:
        """Raise FailedError (verify-failed) unless it is done, by the volume alone."""

    def expect_free(self, root: Path, folder: Path) -> None:
        """Raise where something stands in the way of undoing it."""

    def expect_trusted(self, root: Path, folder: Path, authority: Authority) -> None:
        """Raise unless its playbook would have asked for it; a planted journal asks for something else."""

    def expect_as_left(self, folder: Path) -> None:
        """Raise unless what it has put into the quarantine is unchanged."""

    def expect_only_its_own(self, folder: Path) -> None:
        """Raise where deleting its files in the quarantine would delete what a stranger has put there."""

    def undo(self, root: Path, folder: Path) -> None:
        """Take it back; what was done after it is taken back already."""

    def verify_undone(self, root: Path, folder: Path) -> None:
        """Raise unless it is taken back; called when the whole run is."""

    def losses(self, root: Path, folder: Path) -> tuple[str, ...]:
        """What undoing it cannot bring back, in sentences."""


def not_done(why: str) -> FailedError:
    """The error of an action that a journal says is done and that is not done on the volume."""
    return FailedError(
        f"the repair could not be confirmed: {why}",
        reason=Reason.VERIFY_FAILED,
        hint="run it again; if that does not help, look at this disk by hand",
    )
