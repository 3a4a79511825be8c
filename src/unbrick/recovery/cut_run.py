"""A run that a cut of the power has stopped on a volume: whose it is, and what finishing it comes to.

A view shows it finished, and plans are made of that. On the disk it is finished when the whole plan has been
rehearsed and agreed to, in one go with the change that was ordered (`rehearsal.py`): nothing is written where
the disk that it leaves is one for a person.
"""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.errors import NeedsHandsError, Reason, UnbrickError
from unbrick.model import Action, ActionState, RunState, Touched
from unbrick.recovery.case import Found, Goal, Kit, Order
from unbrick.repair.completion import judge_completion
from unbrick.repair.trust import Authority
from unbrick.repair.undo import find_runs

CUT_OFF = (
    "a repair or an undo was cut off here: run unbrick repair or unbrick undo, which finishes it, "
    "before Windows is started"
)
_ORDERED_AS = {
    RunState.REPAIRED: (Goal.REPAIR, ActionState.DONE),
    RunState.UNDONE: (Goal.UNDO, ActionState.UNDONE),
}


@dataclass(frozen=True)
class CutRun:
    """A cut run that a repair or an undo finishes, before it does anything else; as it comes, there is none.

    `recorded` is its id; None of a purge, which has deleted its journal. `may_touch` is None where nothing is
    left to finish but to say that it is. Where finishing it is what was ordered, `run` is its id too, and
    `planned` and `finished` are its actions before and after.
    """

    is_there: bool = False
    may_touch: Touched | None = None
    recorded: str | None = None
    run: str | None = None
    planned: tuple[Action, ...] = ()
    finished: tuple[Action, ...] = ()


def find_cut_run(found: Found, order: Order, kit: Kit) -> CutRun:
    """The run that was cut off on a volume, judged by its journal; writes nothing.

    Raises NeedsHandsError where it may not be finished (bad-journal, unknown-playbook, ...), or interrupted:
    a purge, which only deletes, finishes none.
    """
    cut = found.view.cut_off
    if cut is None:
        return CutRun()
    if order.goal is Goal.PURGE:
        hint = "run unbrick repair or unbrick undo on it first"
        raise NeedsHandsError(CUT_OFF, reason=Reason.INTERRUPTED, hint=hint)
    root = found.view.root
    recorded = next((one for one in find_runs(root) if one.run == cut.run), None)
    try:
        may_touch = judge_completion(root, cut.as_before, cut.run, Authority(kit.playbooks, found.folders))
    except UnbrickError:
        # Of one that is carried out nothing is left but the dirty flag, which stays where nobody tells of it.
        if not cut.carried_out:
            raise
        may_touch = None
    if recorded is None:
        return CutRun(True, may_touch)
    goal, state = _ORDERED_AS[recorded.state]
    if order.goal is not goal or order.run not in {None, cut.run}:
        return CutRun(True, may_touch, cut.run)
    planned = tuple(entry.to_action(ActionState.PLANNED) for entry in recorded.entries)
    finished = tuple(entry.to_action(state) for entry in recorded.entries)
    return CutRun(True, may_touch, cut.run, cut.run, planned, finished)
