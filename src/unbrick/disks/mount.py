"""Two views of an NTFS volume, however Windows left it: `look` never writes, `change` writes what it must.

`look` shows what a repair would find: after a crash, the journal is replayed on an overlay in memory.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.command import Runner
from unbrick.disks.hibernation import Hibernation, discard_hibernation, find_hibernation
from unbrick.disks.log_replay import VolumeFacts, read_facts, replay_log
from unbrick.disks.ntfs_log import has_pending_records, reset_log
from unbrick.disks.ntfs_mirror import mend_mirror
from unbrick.disks.ntfs_mount import mount_ntfs
from unbrick.disks.ntfs_volume import RECORD_VOLUME, open_view, read_dirty, write_dirty
from unbrick.disks.overlay import open_overlay
from unbrick.disks.plain import PlainVolume
from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
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
    """A volume to look at: `root` is mounted read-only; `notes` are sentences for a person."""

    root: Path
    state: FilesystemState
    notes: tuple[str, ...] = ()


class Mounted:
    """A volume to change, mounted at `root`. `was_dirty`: Windows' dirty flag before we set ours."""

    def __init__(self, root: Path, plain: PlainVolume, notes: tuple[str, ...], *, was_dirty: bool) -> None:
        self.root = root
        self.notes = notes
        self.was_dirty = was_dirty
        self.stays_dirty = was_dirty
        self._plain = plain

    def sync(self) -> None:
        """Flush every layer down to the disk; raises FailedError."""
        try:
            descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise FailedError(
                f"what was written did not reach the disk: {error.strerror}", reason=Reason.UNREADABLE_DISK
            ) from error
        self._plain.sync()

    def leave_dirty(self) -> None:
        """Leave the dirty flag set at the end, so that Windows checks the volume."""
        self.stays_dirty = True

    def leave_clean(self) -> None:
        """Clear the dirty flag at the end: it was an interrupted run of ours that had set it."""
        self.stays_dirty = False


@contextmanager
def look(plain: PlainVolume, runner: Runner, workdir: Path) -> Iterator[View]:
    """Mount a volume read-only, whatever its state; never writes to it.

    Raises NeedsHandsError (damaged-volume, disk-in-use), FailedError.
    """
    facts = read_facts(plain.path, plain.length)
    with _mended(plain, facts, runner, workdir) as lying, ExitStack() as as_it_lies:
        root = as_it_lies.enter_context(mount_ntfs(lying, _folder(workdir), runner, read_only=True))
        hibernation = find_hibernation(root)
        if hibernation is not None:
            yield View(root, FilesystemState.HIBERNATED, _notes(hibernation))
            return
        if not facts.log.needs_replay:
            yield View(root, facts.state)
            return
        with open_overlay(lying, plain.length, runner, workdir) as overlay:
            if not replay_log(overlay, plain.length, facts.log, runner):
                yield View(root, FilesystemState.UNCLEAN_LOG, (_SHOWN_UNREPLAYED,))
                return
            as_it_lies.close()
            with mount_ntfs(overlay, _folder(workdir), runner, read_only=True) as replayed:
                yield View(replayed, FilesystemState.UNCLEAN_LOG)


def check_change(plain: PlainVolume, options: ChangeOptions, runner: Runner, workdir: Path) -> None:
    """Raise the NeedsHandsError that `change` would raise, so that a dry run foresees it; writes nothing."""
    _check(plain, read_facts(plain.path, plain.length), options, runner, workdir)


@contextmanager
def change(plain: PlainVolume, options: ChangeOptions, runner: Runner, workdir: Path) -> Iterator[Mounted]:
    """Mount a volume for writing, with whatever must be done first to make that safe.

    While it lasts the volume is marked dirty; afterwards the flag is as it was, unless an exception passed
    or the journal had to be reset, or the mirror of the file table mended. Raises NeedsHandsError
    (hibernated, unclean-log, read-only, damaged-volume, disk-in-use), before anything is written;
    FailedError.
    """
    facts = read_facts(plain.path, plain.length)
    notes, to_check = _prepare(plain, facts, options, runner, workdir)
    was_dirty = _mark(plain, facts, dirty=True)
    with ExitStack() as stack:
        # Runs after the unmount, also when an exception passes.
        stack.callback(plain.sync)
        try:
            root = stack.enter_context(mount_ntfs(plain.path, _folder(workdir), runner, read_only=False))
        except UnbrickError:
            _mark(plain, facts, dirty=was_dirty or to_check)
            raise
        mounted = Mounted(root, plain, notes, was_dirty=was_dirty)
        yield mounted
    if not mounted.stays_dirty and not to_check:
        _mark(plain, facts, dirty=False)


def _prepare(
    plain: PlainVolume, facts: VolumeFacts, options: ChangeOptions, runner: Runner, workdir: Path
) -> tuple[tuple[str, ...], bool]:
    """Make the volume one that can be mounted for writing; the notes, and whether Windows must check it.

    Everything that can be refused is refused before the first byte is written.
    """
    hibernation, replayable = _check(plain, facts, options, runner, workdir)
    resetting = facts.log.needs_replay and not replayable
    notes: list[str] = []
    # The flag itself is a single bit, which is right wherever it lies: nothing else then needs a check.
    torn = any(number != RECORD_VOLUME for number in facts.unmirrored)
    if facts.unmirrored:
        if torn:
            _mark(plain, facts, dirty=True)
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
    if replayable:
        if not replay_log(plain.path, plain.length, facts.log, runner):
            raise FailedError("the NTFS journal was replayed on trial, but not on the disk")
        plain.sync()
        notes.append(_REPLAYED)
    elif resetting:
        _mark(plain, facts, dirty=True)
        with open_view(plain.path, writable=True) as view:
            reset_log(view, facts.geometry)
        plain.sync()
        notes.append(_RESET)
    return tuple(notes), resetting or torn


def _check(
    plain: PlainVolume, facts: VolumeFacts, options: ChangeOptions, runner: Runner, workdir: Path
) -> tuple[Hibernation | None, bool]:
    """What stands in the way of writing; NeedsHandsError where it may not be cleared away. Writes nothing."""
    if plain.write_protected:
        raise NeedsHandsError(
            "this disk is write-protected",
            hint="lift the protection (a switch, a write blocker, blockdev --setrw), then try again",
            reason=Reason.READ_ONLY,
        )
    with (
        _mended(plain, facts, runner, workdir) as lying,
        mount_ntfs(lying, _folder(workdir), runner, read_only=True) as root,
    ):
        hibernation = find_hibernation(root)
    if hibernation is not None and not options.discard_hibernation:
        raise _hibernated(hibernation)
    replayable = facts.log.needs_replay and _rehearse(plain, facts, hibernation, runner, workdir)
    resetting = facts.log.needs_replay and not replayable
    if resetting and not options.reset_log and _has_pending(plain, facts):
        raise NeedsHandsError(
            "Windows crashed, and the NTFS journal of this volume cannot be replayed",
            hint="let Windows' recovery environment check the volume (chkdsk), or repeat with --reset-log",
            reason=Reason.UNCLEAN_LOG,
        )
    return hibernation, replayable


def _rehearse(
    plain: PlainVolume, facts: VolumeFacts, hibernation: Hibernation | None, runner: Runner, workdir: Path
) -> bool:
    """Whether the journal can be replayed, tried in memory: half a replay on a disk cannot be undone."""
    with (
        _mended(plain, facts, runner, workdir) as lying,
        open_overlay(lying, plain.length, runner, workdir) as overlay,
    ):
        if hibernation is not None:
            with open_view(overlay, writable=True) as view:
                discard_hibernation(view, facts.geometry, hibernation)
        return replay_log(overlay, plain.length, facts.log, runner)


@contextmanager
def _mended(plain: PlainVolume, facts: VolumeFacts, runner: Runner, workdir: Path) -> Iterator[Path]:
    """The volume; on an overlay with its mirror mended where that differs, for ntfs-3g refuses it else."""
    if not facts.unmirrored:
        yield plain.path
        return
    with open_overlay(plain.path, plain.length, runner, workdir) as overlay:
        with open_view(overlay, writable=True) as view:
            mend_mirror(view, facts.geometry)
        yield overlay


def _has_pending(plain: PlainVolume, facts: VolumeFacts) -> bool:
    with open_view(plain.path) as view:
        return has_pending_records(view, facts.geometry, facts.log)


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


def _mark(plain: PlainVolume, facts: VolumeFacts, *, dirty: bool) -> bool:
    """Set the dirty flag and flush it; returns what it was."""
    with open_view(plain.path, writable=True) as view:
        was_dirty = read_dirty(view, facts.geometry)
        write_dirty(view, facts.geometry, dirty)
    plain.sync()
    return was_dirty
