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
from unbrick.repair.history import program_name, read_runs
from unbrick.repair.purge import apply_purge, expect_purged
from unbrick.repair.undo import apply_undo
from unbrick.repair.verify import verify_applied


def carry_out(case: Case, order: Order, kit: Kit, draft: Draft) -> None:
    """Do on one volume what was planned and agreed to; raises UnbrickError.

    The volume is then as it was, or the next run completes what was begun; where only the check fails that
    follows, the volume is changed, and the case says so.
    """
    assert case.plain is not None
    where = partition_detail(case.volume)
    with (
        kit.recorder.step(order.goal.value, **where),
        change(case.plain, order.change_options, kit.runner, kit.workdir) as mounted,
    ):
        case.passing_notes = mounted.notes
        if case.cut_run is not None:
            case.notes.append(f"the run {case.cut_run.run} had been cut off; it was finished")
        if case.purge is not None:
            mounted.run = case.purge.run
            case.show(case.folders, apply_purge(mounted.root, case.purge), Status.SCANNED)
        elif order.goal is Goal.UNDO:
            _undo(case, mounted, order, draft)
        else:
            _repair(case, mounted, order, kit, draft)
    case.on_disk = True
    if case.purge is None:
        _tell_what_was_moved(case, kit)
    with kit.recorder.step("verify", **where), look(case.plain, kit.runner, kit.workdir) as view:
        _prove(case, view, order, kit)


def _tell_what_was_moved(case: Case, kit: Kit) -> None:
    moved = (action for report in case.installations for action in report.actions)
    for action in dict.fromkeys(moved):  # a file outside every Windows folder may belong to several
        kit.recorder.tell(
            EventKind.MOVED,
            path=action.path,
            sha256=action.sha256,
            playbook=action.playbook,
            state=action.state.value,
        )


def _repair(case: Case, mounted: Mounted, order: Order, kit: Kit, draft: Draft) -> None:
    """Carry out the plan, which was made of the volume with what was cut off completed."""
    plan, completed = case.plan, case.completed_by(order)
    assert plan is not None
    done: list[Action] = []
    if completed is not None:
        done += [entry.to_action(ActionState.DONE) for entry in completed.header.entries]
        if not plan.actions:
            draft.run = completed.run
    if plan.actions:
        mounted.run = plan.run
        applied = apply_plan(
            mounted.root,
            plan,
            volume_was_dirty=mounted.was_dirty,
            playbooks=kit.playbooks,
            program=program_name(kit.medium),
        )
        verify_applied(mounted.root, applied)
        done += applied
    case.show(case.folders, done, Status.REPAIRED)


def _undo(case: Case, mounted: Mounted, order: Order, draft: Draft) -> None:
    """Put back one run; where that was cut off, it has just been completed."""
    completed = case.completed_by(order)
    done: list[Action] = []
    if completed is not None:
        draft.run = completed.run
        done += [entry.to_action(ActionState.UNDONE) for entry in completed.header.entries]
    elif case.undo is not None:
        draft.run = mounted.run = case.undo.run
        case.notes += case.undo.notes
        done += apply_undo(mounted.root, case.undo)
    case.show(case.folders, done, Status.UNDONE)


def _prove(case: Case, view: View, order: Order, kit: Kit) -> None:
    """Mount afresh and look again: what was claimed must be what a stranger would now find."""
    case.volume = replace(case.volume, filesystem=view.state)
    if case.purge is not None:
        expect_purged(view.root, case.purge)
    if order.goal is not Goal.REPAIR:
        case.runs, _ = read_runs(view.root, case.volume.partition)
        return
    for installation, _ in case.diagnoses:
        diagnosis = diagnose(view.root, installation, kit.playbooks)
        if diagnosis.repairable:
            raise FailedError(
                f"after the repair the fault is still there: {diagnosis.explanation}",
                hint="run it again; if that does not help, look at this disk by hand",
                reason=Reason.VERIFY_FAILED,
            )
