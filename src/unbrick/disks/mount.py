"""Two views of an NTFS volume, however Windows left it: `look` never writes, `change` writes what it must.

`look` shows what a repair would find: after a crash, the journal is replayed on an overlay in memory.
`change` works on such an overlay too; what was written reaches the disk when all went well, in one piece.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.command import Runner
from unbrick.disks.atomic_change import Written, commit, complete, show_completed, write_replayed
from unbrick.disks.hibernation import Hibernation, discard_hibernation, find_hibernation
from unbrick.disks.log_replay import VolumeFacts, read_facts, replay_log
from unbrick.disks.ntfs_log import has_pending_records, reset_log
from unbrick.disks.ntfs_mirror import mend_mirror
from unbrick.disks.ntfs_mount import mount_ntfs
from unbrick.disks.ntfs_volume import RECORD_VOLUME, open_view, write_dirty
from unbrick.disks.overlay import begin_overlay, open_overlay
from unbrick.disks.plain import PlainVolume
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import FilesystemState

_REPLAYED = "Windows had crashed: its NTFS journal was replayed first"
_RESET = (
    "the NTFS journal could not be replayed and was reset; the volume is marked dirty, Windows will check it"
)
_DISCARDED = "the hibernation was discarded: Windows will start afresh, what was open in it is lost"
_MENDED = (
    "the mirror of the NTFS file table had fallen behind, as a cut of the power leaves it, and was mended"
)
_SHOWN_UNREPLAYED = "the NTFS journal cannot be replayed: the volume is shown as it lies on the disk"


@dataclass(frozen=True)
class ChangeOptions:
    """What a person has allowed beforehand."""

    discard_hibernation: bool = False
    reset_log: bool = False


@dataclass(frozen=True)
class View:
    """A volume to look at: `root` is mounted read-only; `notes` are sentences for a person.

    `cut_off` is the id of a run that a cut of the power has stopped: it is shown completed here, and the next
    `change` completes it on the disk. `halfway` is why there can be no `change`, where it was opened first.
    """

    root: Path
    state: FilesystemState
    notes: tuple[str, ...] = ()
    cut_off: str | None = None
    halfway: NeedsHandsError | None = None


class Mounted:
    """A copy of a volume to change, mounted at `root`; the changes reach the disk when the context ends.

    `was_dirty`: Windows' dirty flag. `run`: the id of the run that the changes belong to, to be set.
    """

    def __init__(self, root: Path, notes: tuple[str, ...], *, was_dirty: bool) -> None:
        self.root = root
        self.notes = notes
        self.was_dirty = was_dirty
        self.run = ""


@contextmanager
def look(plain: PlainVolume, runner: Runner, workdir: Path) -> Iterator[View]:
    """Mount a volume read-only, whatever its state; never writes to it.

    Raises NeedsHandsError (damaged-volume, disk-in-use), FailedError.
    """
    found = read_facts(plain.path, plain.length)
    halfway = _halfway() if found.halfway else None
    with _mended(plain, found, runner, workdir) as (lying, facts), ExitStack() as as_it_lies:
        root = as_it_lies.enter_context(mount_ntfs(lying, _folder(workdir), runner, read_only=True))
        hibernation = find_hibernation(root)
        if hibernation is not None:
            yield View(root, FilesystemState.HIBERNATED, _notes(hibernation), halfway=halfway)
            return
        if not facts.log.needs_replay:
            cut_off = found.pending.redo.run if found.pending else None
            yield View(root, facts.state, cut_off=cut_off, halfway=halfway)
            return
        with open_overlay(lying, plain.length, runner, workdir) as overlay:
            if not replay_log(overlay.path, plain.length, facts.log, runner):
                yield View(root, FilesystemState.UNCLEAN_LOG, (_SHOWN_UNREPLAYED,), halfway=halfway)
                return
            as_it_lies.close()
            with mount_ntfs(overlay.path, _folder(workdir), runner, read_only=True) as replayed:
                yield View(replayed, FilesystemState.UNCLEAN_LOG, halfway=halfway)


def check_change(plain: PlainVolume, options: ChangeOptions, runner: Runner, workdir: Path) -> None:
    """Raise the NeedsHandsError that `change` would raise, so that a dry run foresees it; writes nothing."""
    _check(plain, read_facts(plain.path, plain.length), options, runner, workdir)


@contextmanager
def change(plain: PlainVolume, options: ChangeOptions, runner: Runner, workdir: Path) -> Iterator[Mounted]:
    """Mount a copy of a volume for writing, with whatever must be done first to make that safe.

    When the context ends, what was written reaches the disk, all or nothing (`atomic_change.py`); when an
    exception passes, nothing of it does. The dirty flag is then as it was, unless the journal had to be
    reset, or the mirror of the file table mended. Raises NeedsHandsError (hibernated, unclean-log, read-only,
    damaged-volume, disk-in-use), before anything is written; FailedError.
    """
    found = read_facts(plain.path, plain.length)
    was_dirty = found.pending.redo.dirty_after if found.pending else found.dirty
    with begin_overlay(plain.path, plain.length, runner, workdir) as copy:
        hibernation, replayed = _check(plain, found, options, runner, workdir)
        with plain.locked():
            notes, to_check = _prepare(plain, found, hibernation, replayed)
            facts = read_facts(plain.path, plain.length)
            copy.wait()
            with mount_ntfs(copy.path, _folder(workdir), runner, read_only=False) as root:
                mounted = Mounted(root, notes, was_dirty=was_dirty)
                yield mounted
            commit(plain, facts, copy.end(), run=mounted.run, dirty_after=was_dirty or to_check)


def _prepare(
    plain: PlainVolume, facts: VolumeFacts, hibernation: Hibernation | None, replayed: Written | None
) -> tuple[tuple[str, ...], bool]:
    """Make the volume one that can be mounted for writing; the notes, and whether Windows must check it.

    What may be cleared away for that is what `_check` gave, which has refused all that can be refused.
    """
    if facts.pending is not None:
        complete(plain, facts, facts.pending)
        facts = read_facts(plain.path, plain.length)
    resetting = facts.log.needs_replay and replayed is None
    notes: list[str] = []
    # The flag itself is a single bit, which is right wherever it lies: nothing else then needs a check.
    torn = any(number != RECORD_VOLUME for number in facts.unmirrored)
    if facts.unmirrored:
        if torn:
            _mark_dirty(plain, facts)
        with open_view(plain.path, writable=True) as view:
            mend_mirror(view, facts.geometry)
        plain.sync()
        notes.append(_MENDED)
    if hibernation is not None:
        # Before the journal: replayed under a hibernation still alive, the volume would be torn on waking.
        with open_view(plain.path, writable=True) as view:
            discard_hibernation(view, facts.geometry, hibernation)
        plain.sync()
        notes += [_DISCARDED, *_notes(hibernation)]
    if replayed is not None:
        write_replayed(plain, facts, replayed)
        notes.append(_REPLAYED)
    elif resetting:
        _mark_dirty(plain, facts)
        with open_view(plain.path, writable=True) as view:
            reset_log(view, facts.geometry)
        plain.sync()
        notes.append(_RESET)
    return tuple(notes), resetting or torn


def _check(
    plain: PlainVolume, facts: VolumeFacts, options: ChangeOptions, runner: Runner, workdir: Path
) -> tuple[Hibernation | None, Written | None]:
    """What may be cleared away before writing: a hibernation, and what replaying the journal would write.

    Raises NeedsHandsError where something stands in the way. Writes nothing.
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
        mount_ntfs(lying, _folder(workdir), runner, read_only=True) as root,
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
    """The volume; on an overlay where a change is pending or the mirror differs, with these mended there."""
    if facts.pending is None and not facts.unmirrored:
        yield plain.path, facts
        return
    with open_overlay(plain.path, plain.length, runner, workdir) as overlay:
        with open_view(overlay.path, writable=True) as view:
            if facts.pending is not None:
                show_completed(view, facts, facts.pending)
            mend_mirror(view, facts.geometry)
        yield overlay.path, read_facts(overlay.path, plain.length)


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


def _folder(workdir: Path) -> Path:
    return workdir / f"ntfs-{secrets.token_hex(4)}"


def _notes(hibernation: Hibernation) -> tuple[str, ...]:
    return (hibernation.note,) if hibernation.note else ()


def _mark_dirty(plain: PlainVolume, facts: VolumeFacts) -> None:
    with open_view(plain.path, writable=True) as view:
        write_dirty(view, facts.geometry, dirty=True)
    plain.sync()
