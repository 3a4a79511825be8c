"""The story of one disk, top to bottom: discover, look, plan, agree, carry out, verify, report.

Nothing is written before a plan exists and was agreed to. The recorder hears of each step, also when it
fails, and the report has all that is known by then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace

from unbrick import __version__
from unbrick.disks.discover import open_disk
from unbrick.disks.disk import Disk
from unbrick.disks.firmware import read_firmware
from unbrick.disks.free_space import find_full, refuse_without_room
from unbrick.disks.plain import open_plain
from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.events.event import EventKind
from unbrick.events.run_id import order_of
from unbrick.model import DiskReport, FilesystemState, RunState, Status, Verdict, Volume
from unbrick.recovery.case import Found, Goal, Kit, Order
from unbrick.recovery.change import Change, Ready, carry_out, plan_change, rehearse_change, verify
from unbrick.recovery.looking import look_into
from unbrick.recovery.outcome import TRY_AGAIN, Draft, VolumeCase, place_of

_WRITE_PROTECTED = "this disk is write-protected here: lift that before a repair"
_LIKE_FULL = {None, Reason.UNREADABLE_DISK, Reason.PROGRAM_FAILED, Reason.VERIFY_FAILED}


def recover_disk(order: Order, kit: Kit) -> DiskReport:
    """Do what was ordered with one disk; raises nothing of ours: an error is in the report."""
    draft = Draft(order.disk, scanning=order.goal is Goal.SCAN, firmware=read_firmware(order.disk))
    kit.recorder.identify(draft.machine())
    kit.recorder.tell(EventKind.RUN_STARTED, goal=order.goal.value, version=__version__)
    try:
        with ExitStack() as opened:
            _tell_the_story(order, kit, draft, opened)
    except (UnbrickError, OSError) as error:
        draft.trouble = _in_words(error, str(order.disk))
    report = draft.report()
    kit.recorder.identify(report.machine)
    kit.recorder.tell(EventKind.OUTCOME, status=report.status.value, reason=report.reason)
    return report


def _tell_the_story(order: Order, kit: Kit, draft: Draft, opened: ExitStack) -> None:
    disk = _discover(order, kit, draft, opened)
    looking = opened.enter_context(ExitStack())
    windows = _look(disk, order, kit, draft, looking)
    if not order.goal.plans:
        return
    with kit.recorder.step("plan"):
        planned = _plan(windows, disk, order, kit, draft)
        ready = _rehearse(planned, disk, order, kit, draft)
    if order.goal is Goal.DIAGNOSE:  # the plan was made to foresee what a repair would report
        draft.run = None
        for case in draft.cases:
            case.forget_plan()
    elif not ready:
        draft.run = _already_undone(draft, order) if order.goal is Goal.UNDO else None
    elif not order.dry_run and _agree(kit, draft):
        _carry_out(ready, disk, order, kit, draft, looking)


def _discover(order: Order, kit: Kit, draft: Draft, opened: ExitStack) -> Disk:
    with kit.recorder.step("discover"):
        disk = opened.enter_context(open_disk(order.disk, kit.runner, kit.workdir, order.opening))
        draft.disk_guid = disk.guid
        draft.notes += disk.notes
        draft.cases = [VolumeCase(volume) for volume in disk.volumes]
        kit.recorder.identify(draft.machine())
        if disk.refusal:
            raise NeedsHandsError(disk.refusal_text or "this disk must not be written", reason=disk.refusal)
    return disk


def _look(disk: Disk, order: Order, kit: Kit, draft: Draft, looking: ExitStack) -> list[Found]:
    """Every volume with Windows on it, kept open where a plan is to be made for it."""
    windows = []
    for case in draft.cases:
        with _trouble_stays_in(case, disk, kit), ExitStack() as held:
            found = look_into(case, disk, order, kit, held)
            if found is not None and order.goal.plans:
                windows.append(found)
                looking.push(held.pop_all())
        kit.recorder.identify(draft.machine())
        _record_findings(case, kit)
    return windows


def _record_findings(case: VolumeCase, kit: Kit) -> None:
    for report in case.installations:
        for finding in report.findings:
            files = [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in finding.files[:64]]
            kind = EventKind.FOUND if finding.verdict is Verdict.FAULTY else EventKind.NOTE
            kit.recorder.tell(kind, playbook=finding.playbook, verdict=finding.verdict.value, files=files)


def _plan(windows: Sequence[Found], disk: Disk, order: Order, kit: Kit, draft: Draft) -> list[Change]:
    """The changes, by volume; the draft gets the run that they belong to."""
    planned = []
    for found in windows:
        with _trouble_stays_in(found.case, disk, kit):
            with found.looking:
                one = plan_change(found, order, kit)
            planned.append(one)
    if order.goal.judges:
        draft.run = kit.recorder.run
    else:
        planned = _agree_on_run(planned, windows, order, draft)
    return [one for one in planned if one.run is not None or one.cut.is_there]


def _agree_on_run(
    planned: Sequence[Change], windows: Sequence[Found], order: Order, draft: Draft
) -> list[Change]:
    """Undo the newest run of the whole disk; that a volume had no part in it is then no trouble.

    Where something stands in the way of the newest, no older one is undone: nobody has asked for that.
    """
    begun = {run.run: run.begun for case in draft.cases for run in case.runs}
    runs = [one.run for one in planned if one.run is not None]
    if order.run is None:
        runs += [run for found in windows if found.case.trouble is not None for run in _not_undone(found)]
    draft.run = max(runs, key=lambda run: order_of(run, begun.get(run, 0)), default=None)
    for case in draft.cases:
        if draft.run and case.trouble is not None and case.trouble.reason == Reason.NO_RUN:
            case.trouble = None
    return [one if one.run == draft.run else one.only_finishing() for one in planned]


def _not_undone(found: Found) -> list[str]:
    cut = found.view.cut_off
    runs = [run.run for run in found.case.runs if run.state is RunState.REPAIRED]
    return runs if cut is None else [*runs, cut.run]  # the view shows the cut run finished


def _rehearse(planned: Sequence[Change], disk: Disk, order: Order, kit: Kit, draft: Draft) -> list[Ready]:
    """Do each change on a copy of its volume; those that can be carried out. Writes nothing to the disk."""
    ready = []
    for one in planned:
        case, diagnosing = one.found.case, order.goal is Goal.DIAGNOSE
        case.show(one.found.folders, one.actions, Status.FOUND)
        with _trouble_stays_in(case, disk, kit):
            _refuse_beside_hibernation(case.volume, draft)
            if diagnosing and (disk.protected or one.found.plain.write_protected):
                case.notes.append(_WRITE_PROTECTED)
                continue
            if disk.protected is not None:
                raise disk.protected
            if not diagnosing:
                refuse_without_room(disk.growing)
            ready.append(rehearse_change(one, order, kit))
    return ready


def _refuse_beside_hibernation(volume: Volume, draft: Draft) -> None:
    """A volume with an open journal beside a hibernated Windows is in use by that Windows' saved session."""
    asleep = any(case.volume.filesystem is FilesystemState.HIBERNATED for case in draft.cases)
    if asleep and volume.filesystem is FilesystemState.UNCLEAN_LOG:
        raise NeedsHandsError(
            f"another Windows on this disk is hibernated, and {place_of(volume)} is open in its session",
            hint="start that Windows and shut it down fully, then try again",
            reason=Reason.HIBERNATED,
        )


def _agree(kit: Kit, draft: Draft) -> bool:
    if kit.confirm is not None:
        draft.agreed = kit.confirm(draft.report())
    return draft.agreed is not False


def _already_undone(draft: Draft, order: Order) -> str | None:
    """The run that was put back before, where that leaves nothing to undo; notes it."""
    cases = [one for one in draft.cases if one.trouble is not None and one.trouble.reason == Reason.NO_RUN]
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


def _carry_out(
    ready: Sequence[Ready], disk: Disk, order: Order, kit: Kit, draft: Draft, looking: ExitStack
) -> None:
    looked_only = not disk.writable
    if looked_only:
        looking.close()
        try:
            disk = disk.open_for_writing()
        except (UnbrickError, OSError) as error:
            for one in ready:
                one.change.found.case.blame(_trouble_of(error, one.change.found.case, disk, kit))
            return
    for one in ready:
        found = one.change.found
        again = open_plain(disk, found.case.volume, None, kit.runner, kit.workdir, known=found.key)
        opened = again if looked_only else nullcontext(found.plain)
        with _trouble_stays_in(found.case, disk, kit), opened as plain:
            carry_out(one, plain, order, kit, draft)
            verify(one, plain, kit)


@contextmanager
def _trouble_stays_in(case: VolumeCase, disk: Disk, kit: Kit) -> Iterator[None]:
    """Keep an error in its volume's case: it must not hide, nor stop, the work on the others."""
    try:
        yield
    except (UnbrickError, OSError) as error:
        case.blame(_trouble_of(error, case, disk, kit))


def _trouble_of(error: UnbrickError | OSError, case: VolumeCase, disk: Disk, kit: Kit) -> UnbrickError:
    # A read or write error may come from something full around the disk.
    if isinstance(error, OSError) or (isinstance(error, FailedError) and error.reason in _LIKE_FULL):
        with suppress(OSError):
            if full := find_full(disk.images, kit.workdir):
                return full
    return _in_words(error, place_of(case.volume))


def _in_words(error: UnbrickError | OSError, place: str) -> UnbrickError:
    if isinstance(error, UnbrickError):
        return error
    said = f"{place}: {error.strerror or error}"
    return FailedError(said, hint=TRY_AGAIN, reason=Reason.UNREADABLE_DISK)
