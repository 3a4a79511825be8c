"""The part of the story that writes: repair or undo one volume, then mount afresh and prove it."""

from __future__ import annotations

from dataclasses import replace

from unbrick.diagnosis.diagnose import diagnose
from unbrick.disks.mount import Mounted, View, change, look
from unbrick.errors import FailedError, Reason
from unbrick.event import EventKind
from unbrick.model import Action, ActionState, Status
from unbrick.outcome import Draft
from unbrick.recovery_order import Case, Goal, Kit, Order, partition_detail
from unbrick.repair.apply import apply_plan
from unbrick.repair.history import program_name
from unbrick.repair.plan import make_plan
from unbrick.repair.record import RunState
from unbrick.repair.resume import ResumeResult, finish
from unbrick.repair.undo import apply_undo, plan_undo
from unbrick.repair.verify import verify_applied


def carry_out(case: Case, order: Order, kit: Kit, draft: Draft) -> None:
    """Do on one volume what was planned and agreed to; raises UnbrickError with the volume left resumable."""
    assert case.plain is not None
    where = partition_detail(case.volume)
    with (
        kit.recorder.step(order.goal.value, **where),
        change(case.plain, order.change_options, kit.runner, kit.workdir) as mounted,
    ):
        case.passing_notes = mounted.notes
        if order.goal is Goal.UNDO:
            _undo(case, mounted, order, kit, draft)
        else:
            _repair(case, mounted, kit, draft)
    _tell_what_was_moved(case, kit)
    with kit.recorder.step("verify", **where), look(case.plain, kit.runner, kit.workdir) as view:
        _prove(case, view, order, kit)


def _tell_what_was_moved(case: Case, kit: Kit) -> None:
    for report in case.installations:
        for action in report.actions:
            kit.recorder.tell(
                EventKind.MOVED,
                path=action.path,
                sha256=action.sha256,
                playbook=action.playbook,
                state=action.state.value,
            )


def _repair(case: Case, mounted: Mounted, kit: Kit, draft: Draft) -> None:
    """Finish what an earlier run was cut off in, then carry out the plan."""
    plan = case.plan
    assert plan is not None
    mounted.run = plan.run
    done: list[Action] = []
    if case.unfinished:
        for ended in _finish_earlier_runs(case, mounted, kit):
            done += [action for action in ended.actions if action.state is ActionState.DONE]
        again = [diagnose(mounted.root, one, kit.playbooks) for one, _ in case.diagnoses]
        plan = make_plan(plan.run, [finding for one in again for finding in one.repairable])
        if not plan.actions:
            draft.run = case.unfinished[0].run
    if plan.actions:
        applied = apply_plan(
            mounted.root,
            plan,
            sync=mounted.sync,
            volume_was_dirty=mounted.was_dirty,
            playbooks=kit.playbooks,
            on_action=_ignore,
            program=program_name(kit.medium),
        )
        verify_applied(mounted.root, applied)
        done += applied
    case.show(case.folders, done, Status.REPAIRED)


def _finish_earlier_runs(case: Case, mounted: Mounted, kit: Kit) -> list[ResumeResult]:
    """What became of every run that a power cut stopped: finished, or taken back."""
    results = []
    for unfinished in case.unfinished:
        result = finish(
            mounted.root,
            unfinished,
            playbooks=kit.playbooks,
            installation_folders=case.folders,
            sync=mounted.sync,
            on_action=_ignore,
        )
        if not result.must_be_checked:
            mounted.leave_clean()
        ended = "finished" if result.state is RunState.REPAIRED else "taken back"
        case.notes += [f"the run {result.run} had been interrupted; it was {ended}", *result.notes]
        results.append(result)
    return results


def _ignore(_: Action) -> None:
    """Single actions are too quick to be worth telling."""


def _undo(case: Case, mounted: Mounted, order: Order, kit: Kit, draft: Draft) -> None:
    """Put back one run; where it was interrupted, ending it may have done that already."""
    mounted.run = case.run_to_undo() or ""
    for ended in _finish_earlier_runs(case, mounted, kit):
        if ended.state is not RunState.REPAIRED and order.run in {None, ended.run}:
            draft.run = ended.run
            case.show(
                case.folders, [replace(one, state=ActionState.UNDONE) for one in ended.actions], Status.UNDONE
            )
            return
    undo = case.undo or plan_undo(mounted.root, kit.playbooks, case.folders, order.run)
    draft.run = mounted.run = undo.run
    case.notes += undo.notes
    case.show(
        case.folders,
        apply_undo(mounted.root, undo, sync=mounted.sync, on_action=_ignore, on_torn=mounted.leave_dirty),
        Status.UNDONE,
    )


def _prove(case: Case, view: View, order: Order, kit: Kit) -> None:
    """Mount afresh and look again: what was claimed must be what a stranger would now find."""
    case.volume = replace(case.volume, filesystem=view.state)
    if order.goal is Goal.UNDO:
        return
    for installation, _ in case.diagnoses:
        diagnosis = diagnose(view.root, installation, kit.playbooks)
        if diagnosis.repairable:
            raise FailedError(
                f"after the repair the fault is still there: {diagnosis.explanation}",
                hint="run it again; if that does not help, look at this disk by hand",
                reason=Reason.VERIFY_FAILED,
            )
