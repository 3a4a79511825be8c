"""The story of one disk, top to bottom: discover, unlock, find Windows, diagnose, plan, repair, verify.

Nothing is written before a plan exists and was agreed to. Each step is told to the recorder, also when it
fails, and whatever is known by then is in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path

from unbrick.command import Runner
from unbrick.diagnosis.diagnose import Diagnosis, diagnose
from unbrick.disks.discover import Disk, open_disk
from unbrick.disks.mount import ChangeOptions, Mounted, View, change, check_change, look
from unbrick.disks.plain import PlainVolume, open_plain
from unbrick.disks.unlock import KeyWrongError
from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.incidents.playbook import Playbook
from unbrick.keys.chain import KeyChain
from unbrick.model import (
    Action,
    ActionState,
    DiskReport,
    FilesystemState,
    InstallationReport,
    Plan,
    ProtectorKind,
    Status,
    Volume,
    VolumeKind,
    VolumeState,
)
from unbrick.outcome import Draft, VolumeCase, place_of, refused_volume
from unbrick.repair.apply import apply_plan
from unbrick.repair.plan import make_plan, new_run_id
from unbrick.repair.quarantine import inspect
from unbrick.repair.record import RunState
from unbrick.repair.resume import ResumeResult, UnfinishedRun, find_unfinished, finish
from unbrick.repair.undo import UndoPlan, apply_undo, plan_undo
from unbrick.repair.verify import verify_applied
from unbrick.report.recorder import Recorder
from unbrick.windows.installation import Installation, find_installations


class Goal(StrEnum):
    """How far the story goes."""

    SCAN = "scan"
    DIAGNOSE = "diagnose"
    REPAIR = "repair"
    UNDO = "undo"


@dataclass(frozen=True)
class Order:
    """What was asked for one disk. `run` names the repair to undo; None is the newest."""

    disk: Path
    goal: Goal
    dry_run: bool = False
    discard_hibernation: bool = False
    reset_log: bool = False
    run: str | None = None


Confirm = Callable[[DiskReport], bool]


@dataclass(frozen=True)
class Kit:
    """What the story works with. `confirm` is shown the plan before anything is written; None agrees."""

    runner: Runner
    recorder: Recorder
    keys: KeyChain
    playbooks: Sequence[Playbook]
    workdir: Path
    confirm: Confirm | None = None


@dataclass
class _Case(VolumeCase):
    """A volume with Windows on it, held open from the first look to the last check."""

    plain: PlainVolume | None = None
    state: FilesystemState | None = None
    diagnoses: list[tuple[Installation, Diagnosis]] = field(default_factory=list)
    unfinished: tuple[UnfinishedRun, ...] = ()
    plan: Plan | None = None
    undo: UndoPlan | None = None

    @property
    def folders(self) -> list[str]:
        """Where each Windows of this volume lies."""
        return [installation.folder for installation, _ in self.diagnoses]

    def run_to_undo(self) -> str | None:
        """The run that an undo would take back here; one that was interrupted has to be ended first."""
        if self.unfinished:
            return self.unfinished[0].run
        return self.undo.run if self.undo else None


def recover_disk(order: Order, kit: Kit) -> DiskReport:
    """Do what was ordered with one disk and say what became of it; raises nothing of ours."""
    draft = Draft(order.disk, scanning=order.goal is Goal.SCAN)
    try:
        with ExitStack() as opened:
            _tell_the_story(order, kit, draft, opened)
    except UnbrickError as error:
        draft.trouble = error
    except OSError as error:
        draft.trouble = FailedError(
            f"{order.disk}: {error.strerror or error}",
            hint="run it again; if it fails again, the disk may be failing: copy it first",
            reason=Reason.UNREADABLE_DISK,
        )
    return draft.report()


def _tell_the_story(order: Order, kit: Kit, draft: Draft, opened: ExitStack) -> None:
    with kit.recorder.step("discover"):
        disk = opened.enter_context(open_disk(order.disk, kit.runner, kit.workdir))
        draft.disk_guid = disk.guid
        draft.notes += disk.notes
        draft.cases = [_Case(volume) for volume in disk.volumes]
        if disk.refusal:
            raise NeedsHandsError(disk.refusal_text or "this disk must not be written", reason=disk.refusal)
    for case in _cases(draft):
        with _trouble_stays_in(case):
            _look_into(case, disk, order, kit, opened)
    if order.goal in {Goal.SCAN, Goal.DIAGNOSE}:
        return
    with kit.recorder.step("plan"):
        draft.run = new_run_id() if order.goal is Goal.REPAIR else _agree_on_run(draft)
        work = [case for case in _cases(draft) if _plan(case, order, kit, draft)]
    if not work:
        draft.run = None
        return
    if order.dry_run or (kit.confirm is not None and not kit.confirm(draft.report())):
        return
    for case in work:
        with _blame_installations(case):
            _carry_out(case, order, kit, draft)


def _cases(draft: Draft) -> Iterator[_Case]:
    for case in draft.cases:
        assert isinstance(case, _Case)
        yield case


@contextmanager
def _trouble_stays_in(case: _Case) -> Iterator[None]:
    """What stops the work on one volume must not hide what is known of the others."""
    try:
        yield
    except UnbrickError as error:
        case.trouble = error


def _look_into(case: _Case, disk: Disk, order: Order, kit: Kit, opened: ExitStack) -> None:
    """Unlock, find Windows and diagnose. A volume without Windows is let go of at once."""
    volume = case.volume
    if volume.refusal:
        raise refused_volume(volume)
    if volume.kind not in {VolumeKind.BITLOCKER, VolumeKind.NTFS}:
        return
    with ExitStack() as held:
        case.plain = _open_plain(case, disk, kit, held)
        with look(case.plain, kit.runner, kit.workdir) as view:
            _find_windows(case, view, order, kit)
        if case.diagnoses:
            opened.push(held.pop_all())


def _open_plain(case: _Case, disk: Disk, kit: Kit, held: ExitStack) -> PlainVolume:
    volume = case.volume
    if volume.kind is VolumeKind.NTFS:
        return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir))
    with kit.recorder.step("unlock", **_partition(volume)):
        plain = _unlock(case, disk, kit, held)
    case.volume = replace(volume, state=VolumeState.UNLOCKED)
    return plain


def _unlock(case: _Case, disk: Disk, kit: Kit, held: ExitStack) -> PlainVolume:
    """A suspended volume opens by itself; else each password that the key chain has is tried."""
    volume = case.volume
    if any(protector.kind is ProtectorKind.CLEAR_KEY for protector in volume.protectors):
        return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir))
    ids = [p.id for p in volume.protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD]
    noted = len(kit.keys.notes)
    try:
        for candidate in kit.keys.unlock_candidates(ids, volume=place_of(volume)):
            password = candidate.password.secret
            try:
                return held.enter_context(open_plain(disk, volume, password, kit.runner, kit.workdir))
            except KeyWrongError:
                continue
    finally:
        case.notes += kit.keys.notes[noted:]
    raise kit.keys.failure(ids, volume=place_of(volume))


def _find_windows(case: _Case, view: View, order: Order, kit: Kit) -> None:
    volume = case.volume
    case.state = view.state
    case.volume = replace(volume, filesystem=view.state)
    with kit.recorder.step("find-windows", **_partition(volume)):
        installations = find_installations(view.root)
    if not installations:
        return
    case.passing_notes = view.notes
    for installation in installations:
        case.notes += installation.warnings
    with kit.recorder.step("diagnose", **_partition(volume)):
        case.diagnoses = [(one, diagnose(view.root, one, kit.playbooks)) for one in installations]
    case.installations = tuple(_installation_report(case, order, *pair) for pair in case.diagnoses)
    if order.goal in {Goal.REPAIR, Goal.UNDO}:
        inspect(view.root)
        case.unfinished = find_unfinished(view.root, kit.playbooks)
    if order.goal is Goal.UNDO and not case.unfinished:
        case.undo = plan_undo(view.root, kit.playbooks, case.folders, order.run)


def _installation_report(
    case: _Case, order: Order, installation: Installation, diagnosis: Diagnosis
) -> InstallationReport:
    """An installation as it was found; what only lists (scan, undo) judges nothing."""
    report = InstallationReport(
        partition=case.volume.partition,
        hostname=installation.hostname,
        windows=installation.display,
        status=Status.SCANNED,
    )
    if order.goal in {Goal.SCAN, Goal.UNDO}:
        return report
    return replace(
        report,
        status=diagnosis.status,
        reason=diagnosis.reason,
        explanation=diagnosis.explanation,
        findings=diagnosis.findings,
    )


def _agree_on_run(draft: Draft) -> str | None:
    """The newest run of the whole disk is undone; that a volume had no part in it is then no trouble."""
    newest = max((run for case in _cases(draft) if (run := case.run_to_undo())), default=None)
    for case in _cases(draft):
        if newest and case.trouble is not None and case.trouble.reason == Reason.NO_RUN:
            case.trouble = None
        if case.undo is not None and case.undo.run != newest:
            case.undo = None
    return newest


def _plan(case: _Case, order: Order, kit: Kit, draft: Draft) -> bool:
    """Whether something is to be done on this volume; what is planned goes into the report."""
    if case.trouble is not None or case.plain is None:
        return False
    if order.goal is Goal.UNDO:
        actions = case.undo.actions if case.undo else ()
    else:
        assert draft.run is not None
        case.plan = make_plan(draft.run, [f for _, one in case.diagnoses for f in one.repairable])
        actions = case.plan.actions
    for run in case.unfinished:
        actions += tuple(entry.to_action(ActionState.PLANNED) for entry in run.header.entries)
        if order.dry_run or kit.confirm:
            case.notes.append(f"the run {run.run} was interrupted; it will be finished or taken back first")
    if not actions:
        return False
    case.show(case.folders, actions, Status.FOUND)
    with _blame_installations(case):
        check_change(case.plain, _change_options(order), kit.runner, kit.workdir)
        return True
    return False


def _change_options(order: Order) -> ChangeOptions:
    return ChangeOptions(discard_hibernation=order.discard_hibernation, reset_log=order.reset_log)


@contextmanager
def _blame_installations(case: _Case) -> Iterator[None]:
    """An error while a volume is changed belongs to the installations that had something planned."""
    try:
        yield
    except UnbrickError as error:
        case.blame(error)


def _carry_out(case: _Case, order: Order, kit: Kit, draft: Draft) -> None:
    assert case.plain is not None
    where = _partition(case.volume)
    with (
        kit.recorder.step(order.goal.value, **where),
        change(case.plain, _change_options(order), kit.runner, kit.workdir) as mounted,
    ):
        case.passing_notes = mounted.notes
        if order.goal is Goal.UNDO:
            _undo(case, mounted, order, kit, draft)
        else:
            _repair(case, mounted, kit, draft)
    with kit.recorder.step("verify", **where), look(case.plain, kit.runner, kit.workdir) as view:
        _prove(case, view, order, kit)


def _repair(case: _Case, mounted: Mounted, kit: Kit, draft: Draft) -> None:
    """Finish what an earlier run was cut off in, then carry out the plan."""
    plan = case.plan
    assert plan is not None
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
        )
        verify_applied(mounted.root, applied)
        done += applied
    case.show(case.folders, done, Status.REPAIRED)


def _finish_earlier_runs(case: _Case, mounted: Mounted, kit: Kit) -> list[ResumeResult]:
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


def _undo(case: _Case, mounted: Mounted, order: Order, kit: Kit, draft: Draft) -> None:
    """Put back one run; where it was interrupted, ending it may have done that already."""
    for ended in _finish_earlier_runs(case, mounted, kit):
        if ended.state is not RunState.REPAIRED and order.run in {None, ended.run}:
            draft.run = ended.run
            case.show(
                case.folders, [replace(one, state=ActionState.UNDONE) for one in ended.actions], Status.UNDONE
            )
            return
    undo = case.undo or plan_undo(mounted.root, kit.playbooks, case.folders, order.run)
    draft.run = undo.run
    case.notes += undo.notes
    case.show(
        case.folders, apply_undo(mounted.root, undo, sync=mounted.sync, on_action=_ignore), Status.UNDONE
    )


def _prove(case: _Case, view: View, order: Order, kit: Kit) -> None:
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


def _partition(volume: Volume) -> dict[str, int]:
    return {} if volume.partition is None else {"partition": volume.partition}
