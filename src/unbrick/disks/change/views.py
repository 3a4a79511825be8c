"""A view of an NTFS volume, however Windows left it: what a repair would find. Never writes to it.

After a crash, the journal is replayed on an overlay in memory. `rehearsal.py` changes a volume.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.change.commit import Written, show_completed, show_former
from unbrick.disks.change.facts import VolumeFacts, read_facts, replay_log
from unbrick.disks.change.overlay import open_overlay
from unbrick.disks.change.redo_log import Pending, is_carried_out
from unbrick.disks.ntfs.driver import mount_ntfs
from unbrick.disks.ntfs.hibernation import Hibernation, discard_hibernation, find_hibernation
from unbrick.disks.ntfs.log import has_pending_records
from unbrick.disks.ntfs.mirror import mend_mirror
from unbrick.disks.ntfs.structures import open_view
from unbrick.disks.plain import PlainVolume
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import FilesystemState
from unbrick.processes.command import Runner

_SHOWN_UNREPLAYED = "the NTFS journal cannot be replayed: the volume is shown as it lies on the disk"


@dataclass(frozen=True)
class ChangeOptions:
    """What a person has allowed beforehand."""

    discard_hibernation: bool = False
    reset_log: bool = False


@dataclass(frozen=True)
class CutOff:
    """An interrupted run, by its id; `carried_out`: of its change nothing is left to do.

    `as_before` mounts the volume read-only as it was before the run, as far as its record says. Raises
    NeedsHandsError (damaged-volume), FailedError.
    """

    run: str
    carried_out: bool
    as_before: Callable[[], AbstractContextManager[Path]]


@dataclass(frozen=True)
class View:
    """A volume to look at: `root` is mounted read-only; `notes` are sentences for a person.

    `cut_off` is a run that a power cut has stopped: it is shown completed here, and the next repair or undo
    completes it. `halfway` is why no repair is possible, where the volume was opened before that.
    """

    root: Path
    state: FilesystemState
    notes: tuple[str, ...] = ()
    cut_off: CutOff | None = None
    halfway: NeedsHandsError | None = None


@contextmanager
def look(plain: PlainVolume, runner: Runner, workdir: Path) -> Iterator[View]:
    """Mount a volume read-only, in any state; never writes to it.

    Raises NeedsHandsError (damaged-volume, disk-in-use), FailedError.
    """
    found = read_facts(plain.path, plain.length)
    halfway = _halfway() if found.halfway else None
    with _mended(plain, found, runner, workdir) as (lying, facts), ExitStack() as as_it_lies:
        root = as_it_lies.enter_context(mount_ntfs(lying, folder_for_mount(workdir), runner, read_only=True))
        hibernation = find_hibernation(root)
        if hibernation is not None:
            yield View(root, FilesystemState.HIBERNATED, _notes(hibernation), halfway=halfway)
            return
        if not facts.log.needs_replay:
            cut_off = _cut_off(plain, found, found.pending, runner, workdir) if found.pending else None
            yield View(root, facts.state, cut_off=cut_off, halfway=halfway)
            return
        with open_overlay(lying, plain.length, runner, workdir) as overlay:
            if not replay_log(overlay.path, plain.length, facts.log, runner):
                yield View(root, FilesystemState.UNCLEAN_LOG, (_SHOWN_UNREPLAYED,), halfway=halfway)
                return
            as_it_lies.close()
            with mount_ntfs(overlay.path, folder_for_mount(workdir), runner, read_only=True) as replayed:
                yield View(replayed, FilesystemState.UNCLEAN_LOG, halfway=halfway)


def look_first(
    plain: PlainVolume, facts: VolumeFacts, options: ChangeOptions, runner: Runner, workdir: Path
) -> tuple[Hibernation | None, Written | None]:
    """What may be cleared away before writing: a hibernation, and what replaying the journal would write.

    Raises NeedsHandsError where a repair is not possible. Writes nothing.
    """
    if plain.write_protected:
        raise NeedsHandsError(
            "this disk is write-protected",
            hint="lift the protection (a switch, a write blocker, blockdev --setrw), then try again",
            reason=Reason.READ_ONLY,
        )
    if facts.halfway:
        raise _halfway()
    with (
        _mended(plain, facts, runner, workdir) as (lying, _),
        mount_ntfs(lying, folder_for_mount(workdir), runner, read_only=True) as root,
    ):
        hibernation = find_hibernation(root)
    if hibernation is not None and not options.discard_hibernation:
        raise _hibernated(hibernation)
    replayed = _replay(plain, facts, hibernation, runner, workdir) if facts.log.needs_replay else None
    resetting = facts.log.needs_replay and replayed is None
    if resetting and not options.reset_log and _has_pending(plain, facts):
        raise NeedsHandsError(
            "Windows crashed, and the NTFS journal of this volume cannot be replayed",
            hint="let Windows' recovery environment check the volume (chkdsk), or repeat with --reset-log",
            reason=Reason.UNCLEAN_LOG,
        )
    return hibernation, replayed


def _replay(
    plain: PlainVolume, facts: VolumeFacts, hibernation: Hibernation | None, runner: Runner, workdir: Path
) -> Written | None:
    """What replaying the journal writes, tried in memory; None where it cannot be replayed."""
    with (
        _mended(plain, facts, runner, workdir) as (lying, _),
        open_overlay(lying, plain.length, runner, workdir) as overlay,
    ):
        if hibernation is not None:
            with open_view(overlay.path, writable=True) as view:
                discard_hibernation(view, facts.geometry, hibernation)
        if not replay_log(overlay.path, plain.length, facts.log, runner):
            return None
        return list(overlay.end())


@contextmanager
def _mended(
    plain: PlainVolume, facts: VolumeFacts, runner: Runner, workdir: Path
) -> Iterator[tuple[Path, VolumeFacts]]:
    """The volume; an overlay where a change is pending or the mirror differs, with these mended there."""
    if facts.pending is None and not facts.unmirrored:
        yield plain.path, facts
        return
    with open_overlay(plain.path, plain.length, runner, workdir) as overlay:
        with open_view(overlay.path, writable=True) as view:
            if facts.pending is not None:
                show_completed(view, facts, facts.pending)
            mend_mirror(view, facts.geometry)
        yield overlay.path, read_facts(overlay.path, plain.length)


def _cut_off(
    plain: PlainVolume, facts: VolumeFacts, pending: Pending, runner: Runner, workdir: Path
) -> CutOff:
    @contextmanager
    def as_before() -> Iterator[Path]:
        with open_overlay(plain.path, plain.length, runner, workdir) as overlay:
            with open_view(overlay.path, writable=True) as view:
                show_former(view, pending)
                mend_mirror(view, facts.geometry)
            with mount_ntfs(overlay.path, folder_for_mount(workdir), runner, read_only=True) as root:
                yield root

    with open_view(plain.path) as view:
        return CutOff(pending.redo.run, is_carried_out(view, pending), as_before)


def _has_pending(plain: PlainVolume, facts: VolumeFacts) -> bool:
    with open_view(plain.path) as view:
        return has_pending_records(view, facts.geometry, facts.log)


def _halfway() -> NeedsHandsError:
    return NeedsHandsError(
        "a repair or an undo was cut off here, and the volume was opened before it was completed",
        hint="let Windows check it (chkdsk /f, from its recovery environment), then run unbrick again",
        reason=Reason.DAMAGED_VOLUME,
    )


def _hibernated(hibernation: Hibernation) -> NeedsHandsError:
    note = f"; {hibernation.note}" if hibernation.note else ""
    return NeedsHandsError(
        f"Windows is hibernated on this volume (fast start counts){note}",
        hint="start Windows and shut it down fully, or repeat with --discard-hibernation",
        reason=Reason.HIBERNATED,
    )


def folder_for_mount(workdir: Path) -> Path:
    return workdir / f"ntfs-{secrets.token_hex(4)}"


def _notes(hibernation: Hibernation) -> tuple[str, ...]:
    return (hibernation.note,) if hibernation.note else ()
