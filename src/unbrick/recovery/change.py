"""The change of one volume: planned by looking, rehearsed on a copy, carried out, and verified.

A repair, an undo and a purge differ in what they plan, do to the copy, and verify afterwards. A run that a
power cut has stopped is finished first: a view shows it finished, and plans are made on that. On the disk it
is finished when the whole plan has been rehearsed and agreed to, in one go with the change that was ordered
(`rehearsal.py`): nothing is written where the disk would be left for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from unbrick.diagnosis.diagnose import diagnose
from unbrick.disks.change.rehearsal import Copy, Rehearsed, rehearse
from unbrick.disks.change.views import View, look
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.model import Action, ActionState, Changed, RunState, Status, Touched
from unbrick.recovery.case import Found, Goal, Kit, Order, partition_detail
from unbrick.recovery.outcome import CUT_OFF, Draft, VolumeCase
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.completion import judge_completion
from unbrick.repair.history import program_name, read_runs
from unbrick.repair.purge import apply_purge, expect_purged, plan_purge
from unbrick.repair.quarantine import find_homes
from unbrick.repair.repair import apply_plan, make_plan, verify_applied
from unbrick.repair.trust import Authority
from unbrick.repair.undo import apply_undo, find_runs, plan_undo

_ORDERED_AS = {
    RunState.REPAIRED: (Goal.REPAIR, ActionState.DONE),
    RunState.UNDONE: (Goal.UNDO, ActionState.UNDONE),
}


@dataclass(frozen=True)
class CutRun:
    """The cut run that a repair or an undo finishes before it does anything else; by default there is none.

    `recorded` is its id; None for a purge, which has deleted its journal. `may_touch` is None where nothing
    is left to do but to report it finished. Where finishing it is what was ordered, `run` is its id too, and
    `planned` and `finished` are its actions before and after.
    """

    is_there: bool = False
    may_touch: Touched | None = None
    recorded: str | None = None
    run: str | None = None
    planned: tuple[Action, ...] = ()
    finished: tuple[Action, ...] = ()


@dataclass(frozen=True)
class Change:
    """What is planned for a volume with Windows: `cut` is finished, then it is repaired, undone or purged.

    `run` is the run that does that; the cut run where only finishing it was ordered; else None. `apply`
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
        """Without what would follow when the cut run is finished."""
        return Change(self.found, self.cut, self.ends, self.verify, self.cut.run, self.cut.planned)


@dataclass(frozen=True)
class Ready:
    """A change that was done on a copy and proved: what it does, and what to note when it is carried out."""

    change: Change
    rehearsed: Rehearsed
    actions: tuple[Action, ...]
    notes: tuple[str, ...]


def plan_change(found: Found, order: Order, kit: Kit) -> Change:
    """Plan what was ordered for one volume, while its view is mounted; raises what stands in the way."""
    if found.view.halfway is not None:
        raise found.view.halfway
    cut = _find_cut_run(found, order, kit)
    change = _PLAN[order.goal](found, cut, order, kit)
    if cut.recorded and (order.dry_run or kit.confirm is not None):
        found.case.notes.append(f"the run {cut.recorded} was cut off; it will be finished first")
    return change


def _find_cut_run(found: Found, order: Order, kit: Kit) -> CutRun:
    """The run that was cut off on a volume, judged by its journal; writes nothing.

    Raises NeedsHandsError where it may not be finished (bad-journal, unknown-playbook, …); interrupted where
    a purge was ordered, which only deletes and finishes none.
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
        # A run that was carried out leaves only the dirty flag, which stays without a trusted journal.
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
    found.case.notes += [
        f"{one.message}: it is left alone, and the quarantine has another name"
        for one in find_homes(found.view.root).foreign
    ]
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
        found.case.notes.append("its files were put back before: only the record of that run is deleted")

    def verify(view: View) -> None:
        expect_purged(view.root, plan)
        found.case.runs, _ = read_runs(view.root, found.case.volume.partition)

    def apply(copy: Copy) -> Changed:
        return apply_purge(copy.root, plan)

    return Change(found, cut, Status.SCANNED, verify, plan.run, plan.actions, apply)


_PLAN = {
    Goal.DIAGNOSE: _plan_repair,  # to foresee what a repair would report
    Goal.REPAIR: _plan_repair,
    Goal.UNDO: _plan_undo,
    Goal.PURGE: _plan_purge,
}


def rehearse_change(change: Change, order: Order, kit: Kit) -> Ready:
    """Do the change on a copy of the volume, and prove it; raises what stands in the way."""
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
    _record_actions(case, kit)


def verify(ready: Ready, plain: PlainVolume, kit: Kit) -> None:
    """Mount afresh and look again: what was claimed must be what a stranger would now find."""
    case, where = ready.change.found.case, partition_detail(ready.change.found.case.volume)
    with kit.recorder.step("verify", **where), look(plain, kit.runner, kit.workdir) as view:
        case.volume = replace(case.volume, filesystem=view.state)
        ready.change.verify(view)


def _record_actions(case: VolumeCase, kit: Kit) -> None:
    done = (action for report in case.installations for action in report.actions)
    for action in dict.fromkeys(done):  # a file outside every Windows folder may belong to several
        if action.kind in KINDS:  # what a purge deletes is none of them, and no event
            kit.recorder.tell(KINDS[action.kind].EVENT, **action.to_facts())
