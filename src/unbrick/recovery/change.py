"""The change of one volume: planned by looking, rehearsed on a copy, carried out, and verified.

A repair, an undo and a purge differ in what they plan, do to the copy, and verify afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from unbrick.diagnosis.diagnose import diagnose
from unbrick.disks.change.rehearsal import Copy, Rehearsed, rehearse
from unbrick.disks.change.views import View, look
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError, Reason
from unbrick.model import Action, Changed, Status, Touched
from unbrick.recovery.case import Found, Goal, Kit, Order, partition_detail
from unbrick.recovery.cut_run import CutRun, find_cut_run
from unbrick.recovery.outcome import Draft, VolumeCase
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.history import program_name, read_runs
from unbrick.repair.purge import apply_purge, expect_purged, plan_purge
from unbrick.repair.quarantine import find_homes
from unbrick.repair.repair import apply_plan, make_plan, verify_applied
from unbrick.repair.undo import apply_undo, plan_undo

_OTHER_NAME = "{}: it is left alone, and the quarantine has another name"
_ONLY_A_RECORD = "its files were put back before: only the record of that run is deleted"


@dataclass(frozen=True)
class Change:
    """What is planned for a volume with Windows: `cut` is finished, then it is repaired, undone or purged.

    `run` is what does that; the cut run where finishing that is all that was ordered; else None. `apply`
    changes a copy, `verify` looks at the volume afterwards. `notes` are for a person, once it was rehearsed.
    """

    found: Found
    cut: CutRun
    ends: Status
    verify: Callable[[View], None]
    run: str | None
    actions: tuple[Action, ...]
    apply: Callable[[Copy], Changed] = lambda _: Changed((), Touched())
    notes: tuple[str, ...] = ()

    def only_finishing(self) -> Change:
        """Without what is done after what was cut off is finished."""
        return Change(self.found, self.cut, self.ends, self.verify, self.cut.run, self.cut.planned)


@dataclass(frozen=True)
class Ready:
    """A plan that was carried out on a copy and proved: what it does, and what to say of it when done."""

    change: Change
    rehearsed: Rehearsed
    actions: tuple[Action, ...]
    notes: tuple[str, ...]


def plan_change(found: Found, order: Order, kit: Kit) -> Change:
    """Plan what was ordered for one volume, while its view is mounted; raises what stands in the way."""
    if found.view.halfway is not None:
        raise found.view.halfway
    cut = find_cut_run(found, order, kit)
    change = _PLAN[order.goal](found, cut, order, kit)
    if cut.recorded and (order.dry_run or kit.confirm is not None):
        found.case.notes.append(f"the run {cut.recorded} was cut off; it will be finished first")
    return change


def _plan_repair(found: Found, cut: CutRun, order: Order, kit: Kit) -> Change:
    repairable = [finding for _, diagnosis in found.windows for finding in diagnosis.repairable]
    plan = make_plan(kit.recorder.run, repairable)

    def apply(copy: Copy) -> Changed:
        program, dirty = program_name(kit.medium), copy.was_dirty
        changed = apply_plan(
            copy.root, plan, volume_was_dirty=dirty, playbooks=kit.playbooks, program=program
        )
        verify_applied(copy.root, changed.actions)
        return changed

    def verify(view: View) -> None:
        for installation, _ in found.windows:
            diagnosis = diagnose(view.root, installation, kit.playbooks)
            if diagnosis.repairable:
                raise FailedError(
                    f"after the repair the fault is still there: {diagnosis.explanation}",
                    hint="run it again; if that does not help, look at this disk by hand",
                    reason=Reason.VERIFY_FAILED,
                )

    if not plan.actions:
        return Change(found, cut, Status.REPAIRED, verify, cut.run, cut.planned)
    found.case.notes += [_OTHER_NAME.format(one.message) for one in find_homes(found.view.root).foreign]
    return Change(found, cut, Status.REPAIRED, verify, plan.run, cut.planned + plan.actions, apply)


def _plan_undo(found: Found, cut: CutRun, order: Order, kit: Kit) -> Change:
    def verify(view: View) -> None:
        found.case.runs, _ = read_runs(view.root, found.case.volume.partition)

    if cut.run is not None:  # what is put back is that run, and no older one besides
        return Change(found, cut, Status.UNDONE, verify, cut.run, cut.planned)
    plan = plan_undo(found.view.root, kit.playbooks, found.folders, order.run)

    def apply(copy: Copy) -> Changed:
        return apply_undo(copy.root, plan)

    return Change(found, cut, Status.UNDONE, verify, plan.run, plan.actions, apply, plan.notes)


def _plan_purge(found: Found, cut: CutRun, order: Order, kit: Kit) -> Change:
    plan = plan_purge(found.view.root, kit.playbooks, found.folders, order.run or "")
    if not plan.actions:
        found.case.notes.append(_ONLY_A_RECORD)

    def verify(view: View) -> None:
        expect_purged(view.root, plan)
        found.case.runs, _ = read_runs(view.root, found.case.volume.partition)

    def apply(copy: Copy) -> Changed:
        return apply_purge(copy.root, plan)

    return Change(found, cut, Status.SCANNED, verify, plan.run, plan.actions, apply)


_PLAN = {
    Goal.DIAGNOSE: _plan_repair,  # to foresee what a repair would say
    Goal.REPAIR: _plan_repair,
    Goal.UNDO: _plan_undo,
    Goal.PURGE: _plan_purge,
}


def rehearse_change(change: Change, order: Order, kit: Kit) -> Ready:
    """Do on a copy of the volume what is planned, and prove it; raises what stands in the way."""
    plain, cut, options = change.found.plain, change.cut, order.change_options
    with rehearse(plain, options, kit.runner, kit.workdir, completing=cut.may_touch) as copy:
        copy.run = change.run or ""
        changed = change.apply(copy)
        copy.touched = changed.touched
    change.found.case.notes += change.notes
    return Ready(change, copy.rehearsed, cut.finished + changed.actions, copy.notes)


def carry_out(ready: Ready, plain: PlainVolume, order: Order, kit: Kit, draft: Draft) -> None:
    """Write to a volume what was rehearsed. An error leaves it as it was, or for the next run to complete."""
    change, case = ready.change, ready.change.found.case
    case.show(change.found.folders, ready.actions, change.ends)
    with kit.recorder.step(order.goal.value, **partition_detail(case.volume)):
        ready.rehearsed.bring(plain)
    case.on_disk = True
    case.passing_notes = ready.notes
    if change.cut.recorded:
        case.notes.append(f"the run {change.cut.recorded} had been cut off; it was finished")
    if change.cut.run and change.run == change.cut.run:
        draft.run = change.run
    _tell_what_was_done(case, kit)


def verify(ready: Ready, plain: PlainVolume, kit: Kit) -> None:
    """Mount afresh and look again: what was claimed must be what a stranger would now find."""
    case, where = ready.change.found.case, partition_detail(ready.change.found.case.volume)
    with kit.recorder.step("verify", **where), look(plain, kit.runner, kit.workdir) as view:
        case.volume = replace(case.volume, filesystem=view.state)
        ready.change.verify(view)


def _tell_what_was_done(case: VolumeCase, kit: Kit) -> None:
    done = (action for report in case.installations for action in report.actions)
    for action in dict.fromkeys(done):  # a file outside every Windows folder may belong to several
        if action.kind in KINDS:  # that a purge deletes is none, and no event
            kit.recorder.tell(KINDS[action.kind].EVENT, **action.to_facts())
