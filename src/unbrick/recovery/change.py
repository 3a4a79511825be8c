"""The part of the story that changes: rehearse a repair or an undo, bring it to the disk, and prove it."""

from __future__ import annotations

from dataclasses import replace

from unbrick.diagnosis.diagnose import diagnose
from unbrick.disks.change.rehearsal import Copy, rehearse
from unbrick.disks.change.views import View, look
from unbrick.errors import FailedError, Reason
from unbrick.model import Action, ActionState, Changed, Status, Touched
from unbrick.recovery.case import Case, Goal, Kit, Order, ReadyChange, partition_detail
from unbrick.recovery.outcome import Draft
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.apply import apply_plan
from unbrick.repair.history import program_name, read_runs
from unbrick.repair.journal.document import Journal
from unbrick.repair.purge import apply_purge, expect_purged
from unbrick.repair.undo import apply_undo
from unbrick.repair.verify import verify_applied

_ENDS = {Goal.REPAIR: Status.REPAIRED, Goal.UNDO: Status.UNDONE, Goal.PURGE: Status.SCANNED}


def rehearse_change(case: Case, order: Order, kit: Kit) -> None:
    """Do on a copy of one volume what is planned, and prove it; raises what stands in the way.

    The case then has it ready for `carry_out`. Nothing is written to the disk.
    """
    assert case.plain is not None
    options = order.change_options
    with rehearse(case.plain, options, kit.runner, kit.workdir, completing=case.completing) as copy:
        if case.purge is not None:
            copy.run = case.purge.run
            changed = apply_purge(copy.root, case.purge)
        elif order.goal is Goal.UNDO:
            changed = _undo(case, copy, order)
        else:
            changed = _repair(case, copy, order, kit)
        copy.touched = changed.touched
    assert copy.rehearsed is not None
    case.change = ReadyChange(copy.rehearsed, changed.actions, copy.notes)
    if case.undo is not None:
        case.notes += case.undo.notes


def carry_out(case: Case, order: Order, kit: Kit, draft: Draft) -> None:
    """Bring to one volume what was rehearsed and agreed to; raises UnbrickError.

    The volume is then as it was, or the next run completes what was begun; where only the check fails that
    follows, the volume is changed, and the case says so.
    """
    assert case.plain is not None
    assert case.change is not None
    where = partition_detail(case.volume)
    undoing = order.goal is Goal.UNDO
    case.show(case.folders, case.change.actions, _ENDS[order.goal])
    with kit.recorder.step(order.goal.value, **where):
        case.change.rehearsed.bring(case.plain)
    case.on_disk = True
    case.passing_notes = case.change.notes
    if case.cut_run is not None:
        case.notes.append(f"the run {case.cut_run.run} had been cut off; it was finished")
    completed = case.completed_by(order)
    if completed is not None and (undoing or not (case.plan and case.plan.actions)):
        draft.run = completed.run
    if case.purge is None:
        _tell_what_was_done(case, kit)
    with kit.recorder.step("verify", **where), look(case.plain, kit.runner, kit.workdir) as view:
        _prove(case, view, order, kit)


def _tell_what_was_done(case: Case, kit: Kit) -> None:
    done = (action for report in case.installations for action in report.actions)
    for action in dict.fromkeys(done):  # a file outside every Windows folder may belong to several
        kit.recorder.tell(KINDS[action.kind].EVENT, **action.to_facts())


def _repair(case: Case, copy: Copy, order: Order, kit: Kit) -> Changed:
    """Apply the plan, which was made of the volume with what was cut off completed."""
    plan, completed = case.plan, case.completed_by(order)
    assert plan is not None
    done = _entries_of(completed, ActionState.DONE)
    if not plan.actions:
        return Changed(done, Touched())
    copy.run = plan.run
    changed = apply_plan(
        copy.root,
        plan,
        volume_was_dirty=copy.was_dirty,
        playbooks=kit.playbooks,
        program=program_name(kit.medium),
    )
    verify_applied(copy.root, changed.actions)
    return replace(changed, actions=done + changed.actions)


def _undo(case: Case, copy: Copy, order: Order) -> Changed:
    """Put back one run; where that was cut off, completing it is all there is to do."""
    completed = case.completed_by(order)
    if completed is not None or case.undo is None:
        return Changed(_entries_of(completed, ActionState.UNDONE), Touched())
    copy.run = case.undo.run
    return apply_undo(copy.root, case.undo)


def _entries_of(run: Journal | None, state: ActionState) -> tuple[Action, ...]:
    return tuple(entry.to_action(state) for entry in run.entries) if run is not None else ()


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
