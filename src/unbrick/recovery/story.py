"""The story of one disk, top to bottom: discover, unlock, find Windows, diagnose, plan, repair, verify.

Nothing is written before a plan exists and was agreed to. Each step is told to the recorder, also when it
fails, and whatever is known by then is in the report.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial

from unbrick import __version__
from unbrick.diagnosis.diagnose import Diagnosis, diagnose
from unbrick.disks.bitlocker.master_key import KeyWrongError
from unbrick.disks.change.views import View, look
from unbrick.disks.discover import open_disk
from unbrick.disks.disk import Disk
from unbrick.disks.firmware import read_firmware
from unbrick.disks.free_space import find_full, refuse_without_room
from unbrick.disks.plain import PlainVolume, open_plain
from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.events.event import EventKind, order_of
from unbrick.model import (
    ActionState,
    DiskReport,
    FilesystemState,
    InstallationReport,
    ProtectorKind,
    Status,
    Verdict,
    VolumeKind,
    VolumeState,
)
from unbrick.recovery.case import Case, Confirm, Goal, Kit, Order, partition_detail
from unbrick.recovery.change import carry_out, rehearse_change
from unbrick.recovery.outcome import Draft, no_recovery_password, place_of, refused_volume
from unbrick.repair.completion import judge_completion
from unbrick.repair.history import read_runs
from unbrick.repair.plan import make_plan
from unbrick.repair.purge import plan_purge
from unbrick.repair.quarantine import find_homes
from unbrick.repair.trust import Authority
from unbrick.repair.undo import find_runs, plan_undo
from unbrick.windows.installation import Installation, find_installations

_MOST_RUNS_TOLD = 64
_WRITE_PROTECTED = "this disk is write-protected here: lift that before a repair"
_OTHER_NAME = "{}: it is left alone, and the quarantine has another name"
_LIKE_FULL = {None, Reason.UNREADABLE_DISK, Reason.PROGRAM_FAILED, Reason.VERIFY_FAILED}
_CUT_OFF = (
    "a repair or an undo was cut off here: run unbrick repair or unbrick undo, which finishes it, "
    "before Windows is started"
)
_FINISH_FIRST = "run unbrick repair or unbrick undo on it first"
_ONLY_A_RECORD = "its files were put back before: only the record of that run is deleted"

__all__ = ["Confirm", "Goal", "Kit", "Order", "recover_disk"]


def recover_disk(order: Order, kit: Kit) -> DiskReport:
    """Do what was ordered with one disk and say what became of it; raises nothing of ours."""
    draft = Draft(order.disk, scanning=order.goal is Goal.SCAN, firmware=read_firmware(order.disk))
    kit.recorder.identify(draft.machine())
    kit.recorder.tell(EventKind.RUN_STARTED, goal=order.goal.value, version=__version__)
    try:
        with ExitStack() as opened:
            _tell_the_story(order, kit, draft, opened)
    except UnbrickError as error:
        draft.trouble = error
    except OSError as error:
        draft.trouble = _unreadable(str(order.disk), error)
    report = draft.report()
    kit.recorder.identify(report.machine)
    kit.recorder.tell(EventKind.OUTCOME, status=report.status.value, reason=report.reason)
    return report


def _tell_the_story(order: Order, kit: Kit, draft: Draft, opened: ExitStack) -> None:
    with kit.recorder.step("discover"):
        disk = opened.enter_context(open_disk(order.disk, kit.runner, kit.workdir, order.opening))
        draft.disk_guid = disk.guid
        draft.notes += disk.notes
        draft.cases = [
            Case(volume, find_full=partial(find_full, disk.images, kit.workdir)) for volume in disk.volumes
        ]
        kit.recorder.identify(draft.machine())
        if disk.refusal:
            raise NeedsHandsError(disk.refusal_text or "this disk must not be written", reason=disk.refusal)
    looking = opened.enter_context(ExitStack())
    for case in _cases(draft):
        with _trouble_stays_in(case):
            _look_into(case, disk, order, kit, looking)
        kit.recorder.identify(draft.machine())
        _tell_what_was_found(case, kit)
    if not order.goal.plans:
        return
    with kit.recorder.step("plan"):
        draft.run = kit.recorder.run if order.goal.judges else _agree_on_run(draft, order)
        work = [case for case in _cases(draft) if _plan(case, disk, order, kit, draft)]
    if order.goal is Goal.DIAGNOSE:  # the plan was made to foresee what a repair would say
        draft.run = None
        for case in _cases(draft):
            case.forget_plan()
        return
    if not work:
        draft.run = _already_undone(draft, order) if order.goal is Goal.UNDO else None
        return
    if order.dry_run:
        return
    if kit.confirm is not None:
        draft.agreed = kit.confirm(draft.report())
        if not draft.agreed:
            return
    if not disk.writable:
        looking.close()
        disk = _open_for_writing(disk, work)
    for case in work:
        with _blame_installations(case), ExitStack() as reopened:
            if case.plain is None:
                case.plain = reopened.enter_context(_open_again(case, disk, kit))
            carry_out(case, order, kit, draft)


def _open_for_writing(disk: Disk, work: list[Case]) -> Disk:
    """The disk, which was open for looking only; an error is that of each volume that was to be changed."""
    for case in work:
        case.plain = None
    try:
        return disk.open_for_writing()
    except (UnbrickError, OSError) as error:
        for case in work:
            case.blame(_trouble_of(error, case))
        work.clear()
        return disk


def _open_again(case: Case, disk: Disk, kit: Kit) -> AbstractContextManager[PlainVolume]:
    """A volume that was open for looking, with what opened it then."""
    return open_plain(disk, case.volume, None, kit.runner, kit.workdir, known=case.key)


def _cases(draft: Draft) -> Iterator[Case]:
    for case in draft.cases:
        assert isinstance(case, Case)
        yield case


@contextmanager
def _trouble_stays_in(case: Case) -> Iterator[None]:
    """What stops the work on one volume must not hide what is known of the others."""
    try:
        yield
    except (UnbrickError, OSError) as error:
        case.trouble = _trouble_of(error, case)


def _trouble_of(error: UnbrickError | OSError, case: Case) -> UnbrickError:
    """What an error is told as: a read or write error may come from something full around the disk."""
    if isinstance(error, OSError) or (isinstance(error, FailedError) and error.reason in _LIKE_FULL):
        with suppress(OSError):
            if full := case.find_full():
                return full
    return _unreadable(place_of(case.volume), error) if isinstance(error, OSError) else error


def _unreadable(place: str, error: OSError) -> FailedError:
    return FailedError(
        f"{place}: {error.strerror or error}",
        hint="run it again; if it fails again, the disk may be failing: copy it first",
        reason=Reason.UNREADABLE_DISK,
    )


def _look_into(case: Case, disk: Disk, order: Order, kit: Kit, opened: ExitStack) -> None:
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


def _open_plain(case: Case, disk: Disk, kit: Kit, held: ExitStack) -> PlainVolume:
    volume = case.volume
    if volume.kind is VolumeKind.NTFS:
        return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir))
    ids = [p.id for p in volume.protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD][:16]
    kit.recorder.tell(EventKind.LOCKED, None, protectors=ids or None, **partition_detail(volume))
    with kit.recorder.step("unlock", **partition_detail(volume)):
        plain = _unlock(case, disk, kit, held)
    kit.recorder.tell(EventKind.UNLOCKED, None, **partition_detail(volume))
    case.volume = replace(volume, state=VolumeState.UNLOCKED)
    return plain


def _unlock(case: Case, disk: Disk, kit: Kit, held: ExitStack) -> PlainVolume:
    """A suspended volume opens by itself; else each password that the key chain has is tried."""
    volume = case.volume
    if any(protector.kind is ProtectorKind.CLEAR_KEY for protector in volume.protectors):
        with suppress(KeyWrongError):
            return held.enter_context(open_plain(disk, volume, None, kit.runner, kit.workdir, known=case.key))
    ids = [p.id for p in volume.protectors if p.kind is ProtectorKind.RECOVERY_PASSWORD]
    if not ids:
        raise no_recovery_password(volume)
    noted, untried = len(kit.keys.notes), 0
    try:
        for candidate in kit.keys.unlock_candidates(ids, volume=place_of(volume)):
            password, wanted = candidate.password.secret, candidate.protector_id
            opened = open_plain(
                disk, volume, password, kit.runner, kit.workdir, wanted=wanted, known=case.key
            )
            try:
                plain = held.enter_context(opened)
            except KeyWrongError as error:
                untried = error.untried or untried
                continue
            return plain
    finally:
        case.notes += kit.keys.notes[noted:]
        if untried:
            case.notes.append(
                f"{place_of(volume)} has {len(ids)} key IDs, and each password was tried for only"
                f" {len(ids) - untried} of them: give it with its key ID, which is tried first"
            )
    raise kit.keys.failure(ids, volume=place_of(volume))


def _find_windows(case: Case, view: View, order: Order, kit: Kit) -> None:
    volume = case.volume
    case.state = view.state
    case.volume = replace(volume, filesystem=view.state)
    with kit.recorder.step("find-windows", **partition_detail(volume)):
        installations = find_installations(view.root)
    if not installations:
        return
    case.passing_notes = view.notes
    case.cut_off = view.cut_off is not None
    if case.cut_off and not order.goal.changes:
        case.notes.append(_CUT_OFF)
    for installation in installations:
        case.notes += installation.warnings
    with kit.recorder.step("diagnose", **partition_detail(volume)):
        case.diagnoses = [(one, diagnose(view.root, one, kit.playbooks)) for one in installations]
    case.installations = tuple(_installation_report(case, order, *pair) for pair in case.diagnoses)
    most = None if order.goal is Goal.RUNS else _MOST_RUNS_TOLD
    case.runs, unbelievable = read_runs(view.root, volume.partition, most)
    if order.goal is Goal.RUNS and unbelievable is not None:
        raise unbelievable
    if view.halfway is not None and order.goal not in {Goal.SCAN, Goal.RUNS}:
        raise view.halfway
    if order.goal.plans:
        _judge_cut_off(case, view, order, kit)
    if order.goal.judges:
        case.plan = make_plan(kit.recorder.run, [f for _, one in case.diagnoses for f in one.repairable])
        if case.plan.actions:
            case.notes += [_OTHER_NAME.format(one.message) for one in find_homes(view.root).foreign]
    if order.goal is Goal.PURGE:
        if case.cut_off:
            raise NeedsHandsError(_CUT_OFF, reason=Reason.INTERRUPTED, hint=_FINISH_FIRST)
        case.purge = plan_purge(view.root, kit.playbooks, case.folders, order.run or "")
        if not case.purge.actions:
            case.notes.append(_ONLY_A_RECORD)
    if order.goal is Goal.UNDO and case.completed_by(order) is None:
        case.undo = plan_undo(view.root, kit.playbooks, case.folders, order.run)


def _judge_cut_off(case: Case, view: View, order: Order, kit: Kit) -> None:
    """Whose run it is that was cut off here, and whether it may be completed; a purge completes none."""
    if view.cut_off is None:
        return
    run = view.cut_off.run
    case.cut_run = next((one for one in find_runs(view.root) if one.run == run), None)
    if order.goal is not Goal.PURGE:
        authority = Authority.of(kit.playbooks, case.folders)
        # Of one that is carried out nothing is left but the dirty flag, which stays where nobody tells of it.
        with suppress(*[UnbrickError] if view.cut_off.carried_out else []):
            case.completing = judge_completion(view.root, view.cut_off.as_before, run, authority)


def _installation_report(
    case: Case, order: Order, installation: Installation, diagnosis: Diagnosis
) -> InstallationReport:
    """An installation as it was found; what only lists (scan, undo) judges nothing."""
    report = InstallationReport(
        partition=case.volume.partition,
        hostname=installation.hostname,
        windows=installation.display,
        status=Status.SCANNED,
        auto_unlocked=installation.auto_unlocked,
    )
    if not order.goal.judges:
        return report
    if case.cut_off and order.goal is Goal.DIAGNOSE:
        return replace(report, status=Status.FOUND, findings=diagnosis.findings)
    return replace(
        report,
        status=diagnosis.status,
        reason=diagnosis.reason,
        explanation=diagnosis.explanation,
        findings=diagnosis.findings,
    )


def _agree_on_run(draft: Draft, order: Order) -> str | None:
    """The newest run of the whole disk is undone; that a volume had no part in it is then no trouble."""
    begun = {run.run: run.begun for case in _cases(draft) for run in case.runs}
    runs = [run for case in _cases(draft) if (run := case.run_to_undo(order))]
    newest = max(runs, key=lambda run: order_of(run, begun.get(run, 0)), default=None)
    for case in _cases(draft):
        if newest and case.trouble is not None and case.trouble.reason == Reason.NO_RUN:
            case.trouble = None
        if case.undo is not None and case.undo.run != newest:
            case.undo = None
    return newest


def _already_undone(draft: Draft, order: Order) -> str | None:
    """The run that was put back before, where that leaves nothing to undo; says so."""
    cases = [one for one in _cases(draft) if one.trouble is not None and one.trouble.reason == Reason.NO_RUN]
    runs = [run for case in cases for run in case.runs if order.run in {None, run.run}]
    newest = max(runs, key=lambda run: (order_of(run.run, run.begun), run.when), default=None)
    if newest is None:
        return None
    for case in cases:
        case.trouble = None
        if any(run.run == newest.run for run in case.runs):
            case.installations = tuple(replace(one, status=Status.UNDONE) for one in case.installations)
    draft.notes.append(f"already put back on {newest.when_in_words}: nothing was done now")
    return newest.run


def _plan(case: Case, disk: Disk, order: Order, kit: Kit, draft: Draft) -> bool:
    """Whether something is to be done on this volume; what is planned goes into the report."""
    if case.trouble is not None or case.plain is None:
        return False
    if order.goal is Goal.UNDO:
        actions = case.undo.actions if case.undo else ()
    elif order.goal is Goal.PURGE:
        actions = case.purge.actions if case.purge else ()
    else:
        actions = case.plan.actions if case.plan else ()
    completed = case.completed_by(order)
    if completed is not None:
        actions += tuple(entry.to_action(ActionState.PLANNED) for entry in completed.entries)
    if case.cut_run is not None and (order.dry_run or kit.confirm):
        case.notes.append(f"the run {case.cut_run.run} was cut off; it will be finished first")
    if not actions and not case.cut_off and case.purge is None:
        return False
    case.show(case.folders, actions, Status.FOUND)
    with _blame_installations(case):
        _refuse_beside_hibernation(case, draft)
        diagnosing = order.goal is Goal.DIAGNOSE
        if diagnosing and (disk.protected or case.plain.write_protected):
            case.notes.append(_WRITE_PROTECTED)
        else:
            if disk.protected is not None:
                raise disk.protected
            if not diagnosing:
                refuse_without_room(disk.growing)
            rehearse_change(case, order, kit)
        return True
    return False


def _tell_what_was_found(case: Case, kit: Kit) -> None:
    for report in case.installations:
        for finding in report.findings:
            files = [
                {"path": fact.path, "sha256": fact.sha256, "size": fact.size} for fact in finding.files[:64]
            ]
            kind = EventKind.FOUND if finding.verdict is Verdict.FAULTY else EventKind.NOTE
            kit.recorder.tell(kind, playbook=finding.playbook, verdict=finding.verdict.value, files=files)


def _refuse_beside_hibernation(case: Case, draft: Draft) -> None:
    """A volume with an open journal beside a hibernated Windows is in use by that Windows' saved session."""
    if case.state is not FilesystemState.UNCLEAN_LOG:
        return
    if any(other.state is FilesystemState.HIBERNATED for other in _cases(draft) if other is not case):
        raise NeedsHandsError(
            f"another Windows on this disk is hibernated, and {place_of(case.volume)} is open in its session",
            hint="start that Windows and shut it down fully, then try again",
            reason=Reason.HIBERNATED,
        )


@contextmanager
def _blame_installations(case: Case) -> Iterator[None]:
    """An error while a volume is changed belongs to the installations that had something planned."""
    try:
        yield
    except (UnbrickError, OSError) as error:
        case.blame(_trouble_of(error, case))
