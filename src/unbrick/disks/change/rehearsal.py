"""A change of an NTFS volume, made on a copy and proved there, and then written to the disk.

`rehearse` does everything that a repair or an undo does, with what must be done first to make the volume
writable, on a copy in memory. What it refuses is refused with the disk untouched, so a dry run is a rehearsal
that is not written to the disk.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from unbrick.disks.change.commit import (
    Written,
    commit,
    complete,
    differences,
    find_changes,
    foresee_commit,
    show_completed,
    write_replayed,
)
from unbrick.disks.change.facts import VolumeFacts, facts_of, read_facts
from unbrick.disks.change.overlay import begin_overlay
from unbrick.disks.change.patched_view import PatchedView
from unbrick.disks.change.redo_log import is_carried_out
from unbrick.disks.change.redo_proof import expect_completable, prove_completion
from unbrick.disks.change.redo_record import Change
from unbrick.disks.change.views import ChangeOptions, folder_for_mount, look_first
from unbrick.disks.ntfs.driver import mount_ntfs
from unbrick.disks.ntfs.file_table import open_table
from unbrick.disks.ntfs.hibernation import Hibernation, discard_hibernation, find_header
from unbrick.disks.ntfs.log import open_log, reset_log, show_log_reset
from unbrick.disks.ntfs.mirror import differing_records, mend_mirror
from unbrick.disks.ntfs.structures import DATA, RECORD_VOLUME, ByteView, open_view, write_dirty
from unbrick.disks.plain import PlainVolume
from unbrick.disks.proof.ownership import (
    SECTOR,
    Question,
    ask,
    claimed_only_by,
    prove,
    questions_about_commit,
    questions_about_log,
)
from unbrick.disks.proof.preparation import prove_metadata, prove_reset
from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import Touched
from unbrick.processes.command import Runner

_REPLAYED = "Windows had crashed: its NTFS journal was replayed first"
_RESET = (
    "the NTFS journal could not be replayed and was reset; the volume is marked dirty, Windows will check it"
)
_DISCARDED = "the hibernation was discarded: Windows will start afresh, what was open in it is lost"
_MENDED = (
    "the mirror of the NTFS file table had fallen behind, as a cut of the power leaves it, and was mended"
)


@dataclass(frozen=True)
class Preparation:
    """What must be done before a volume may be written to; nothing, on a volume that was shut down.

    `was_dirty` is Windows' dirty flag, also when an interrupted change is completed; `unmirrored` are the
    records whose mirror differs then. `replayed` is what replaying its journal writes; `resetting`: it is
    emptied instead.
    """

    facts: VolumeFacts
    was_dirty: bool
    unmirrored: tuple[int, ...]
    hibernation: Hibernation | None
    replayed: Written | None
    resetting: bool

    @property
    def is_torn(self) -> bool:
        """Whether the mirror differs in more than the dirty flag, which has no wrong state."""
        return any(number != RECORD_VOLUME for number in self.unmirrored)

    @property
    def writes(self) -> bool:
        """Whether it writes anything, also the dirty flag and its mirror."""
        done = (self.facts.pending, self.hibernation, self.replayed)
        return bool(self.unmirrored) or self.resetting or any(one is not None for one in done)

    @property
    def notes(self) -> tuple[str, ...]:
        notes = [_MENDED] if self.unmirrored else []
        if self.hibernation is not None:
            notes += [_DISCARDED, *([self.hibernation.note] if self.hibernation.note else [])]
        notes += [_REPLAYED] if self.replayed is not None else []
        notes += [_RESET] if self.resetting else []
        return tuple(notes)


@dataclass(frozen=True)
class Rehearsed:
    """A proved change that is ready for the disk. `seen` is what it was made from: places and digests."""

    preparation: Preparation
    changes: tuple[Change, ...]
    run: str
    dirty_after: bool
    seen: tuple[tuple[int, int, bytes], ...]

    def bring(self, plain: PlainVolume) -> None:
        """Write it to the disk, all or nothing (`commit.py`).

        Raises NeedsHandsError (disk-in-use) before anything is written; FailedError where the disk returns an
        error, which the next run gets over.
        """
        with plain.locked():
            self._expect_unchanged(plain)
            _prepare(plain, self.preparation)
            facts = read_facts(plain.path, plain.length)
            commit(plain, facts, self.changes, run=self.run, dirty_after=self.dirty_after)

    def _expect_unchanged(self, plain: PlainVolume) -> None:
        facts = read_facts(plain.path, plain.length)
        with open_view(plain.path) as view:
            same = all(_digest(view.read(place, length)) == digest for place, length, digest in self.seen)
        if facts != self.preparation.facts or not same:
            raise NeedsHandsError(
                "the volume was changed by another program meanwhile; nothing was written",
                hint="end the program that uses it, then run this again",
                reason=Reason.DISK_IN_USE,
            )


@dataclass
class Copy:
    """A copy of a volume to change, mounted at `root`.

    `was_dirty`: Windows' dirty flag. The caller sets `run`, the id of the run that the change belongs to, and
    `touched`, everything that it may touch. `rehearsed` is set when the context has ended.
    """

    root: Path
    notes: tuple[str, ...]
    was_dirty: bool
    run: str = ""
    touched: Touched = Touched()  # noqa: RUF009 - frozen
    rehearsed: Rehearsed = field(init=False)


@contextmanager
def rehearse(
    plain: PlainVolume,
    options: ChangeOptions,
    runner: Runner,
    workdir: Path,
    *,
    completing: Touched | None = None,
) -> Iterator[Copy]:
    """Mount a copy of a volume for writing; when the context ends, prove what was done to it.

    `completing` is everything that an interrupted run may touch, which is completed first. Writes nothing to
    the volume. Raises NeedsHandsError (hibernated, unclean-log, read-only, damaged-volume, disk-in-use,
    too-many-files), FailedError.
    """
    found = read_facts(plain.path, plain.length)
    with begin_overlay(plain.path, plain.length, runner, workdir) as overlay:
        hibernation, replayed = look_first(plain, found, options, runner, workdir)
        resetting = found.log.needs_replay and replayed is None
        with open_view(plain.path) as base:
            completed = PatchedView(base, plain.length)
            was_dirty = _complete(base, completed, found, completing)
            prepared = PatchedView(completed, plain.length)
            unmirrored = differing_records(prepared, found.geometry)
            preparation = Preparation(found, was_dirty, unmirrored, hibernation, replayed, resetting)
            _show_prepared(prepared, preparation)
            questions = _prove(base, prepared, preparation)
            facts = facts_of(prepared, plain.length)
            overlay.wait()
            with open_view(overlay.path, writable=True) as target:
                for place, _, data in (*completed.changed(), *prepared.changed()):
                    target.write(place, data)
            with mount_ntfs(overlay.path, folder_for_mount(workdir), runner, read_only=False) as root:
                copy = Copy(root, preparation.notes, was_dirty=was_dirty)
                yield copy
            after = PatchedView(prepared, plain.length)
            after.take(overlay.end())
            changes = find_changes(prepared, after, facts.geometry)
            proof = prove(prepared, after, facts.geometry, _sectors(changes), copy.touched)
            expect_completable(prepared, proof)
            questions += proof.questions
            table = open_table(prepared, facts.geometry)
            if changes or preparation.writes:
                in_log = foresee_commit(prepared, facts, changes, copy.run)
                questions += questions_about_commit(table, in_log)
            ask(table, questions)
            copy.rehearsed = Rehearsed(
                preparation,
                changes,
                copy.run,
                was_dirty or resetting or preparation.is_torn,
                tuple(_seen(base, completed, prepared, after)),
            )


def _complete(base: ByteView, completed: PatchedView, facts: VolumeFacts, completing: Touched | None) -> bool:
    """Show an interrupted change completed, if there is one, and prove it; returns the dirty flag then."""
    pending = facts.pending
    if pending is None:
        return facts.dirty
    show_completed(completed, facts, pending)
    leaves_clean = completing is not None and completing.leaves_clean
    try:
        prove_completion(base, completed, facts.geometry, pending, completing)
    except NeedsHandsError:
        # Of a run that was carried out only that flag is left to write: it stays where nothing is proved.
        if not is_carried_out(base, pending):
            raise
        leaves_clean = False
    dirty = pending.redo.dirty_after or (facts.dirty and not leaves_clean)
    write_dirty(completed, facts.geometry, dirty)
    return dirty


def _show_prepared(view: PatchedView, preparation: Preparation) -> None:
    """Do to a view of the volume, with interrupted changes completed, what `_prepare` does to the disk."""
    facts = preparation.facts
    if preparation.unmirrored:
        mend_mirror(view, facts.geometry)
    if preparation.hibernation is not None:
        discard_hibernation(view, facts.geometry, preparation.hibernation)
    if preparation.replayed is not None:
        view.take(preparation.replayed)
    if preparation.resetting:
        show_log_reset(view, facts.geometry)


def _prepare(plain: PlainVolume, preparation: Preparation) -> None:
    """Make the volume writable, each step on the disk before the next begins."""
    facts = preparation.facts
    if facts.pending is not None:
        complete(plain, facts, facts.pending, dirty_after=preparation.was_dirty)
        facts = read_facts(plain.path, plain.length)
    if preparation.unmirrored:
        if preparation.is_torn:
            _mark_dirty(plain, facts)
        with open_view(plain.path, writable=True) as view:
            mend_mirror(view, facts.geometry)
        plain.sync()
    if preparation.hibernation is not None:
        # Before the journal: replayed under a hibernation still alive, the volume would be torn on waking.
        with open_view(plain.path, writable=True) as view:
            discard_hibernation(view, facts.geometry, preparation.hibernation)
        plain.sync()
    if preparation.replayed is not None:
        write_replayed(plain, facts, preparation.replayed)
    if preparation.resetting:
        _mark_dirty(plain, facts)
        with open_view(plain.path, writable=True) as view:
            reset_log(view, facts.geometry)
        plain.sync()


def _prove(base: ByteView, prepared: PatchedView, preparation: Preparation) -> list[Question]:
    """Check that preparing the volume stays within its purpose; returns the questions left."""
    geometry = preparation.facts.geometry
    sectors = set(_sectors(differences(prepared, geometry)))
    questions: list[Question] = []
    pending = preparation.facts.pending
    if pending is not None:  # `complete` overwrites the record in its place
        places = open_log(prepared, geometry).places(pending.start, pending.length)
        questions += questions_about_log(places)
    if preparation.hibernation is not None:
        header = find_header(prepared, geometry, preparation.hibernation)
        questions.append(claimed_only_by(*header, preparation.hibernation.record, DATA))
        sectors.difference_update(range(header[0], sum(header), SECTOR))
    if preparation.resetting:
        questions += prove_reset(base, prepared, geometry)
        log = open_log(prepared, geometry)
        sectors = {sector for sector in sectors if not log.covers(sector)}
    return questions + prove_metadata(base, prepared, geometry, sorted(sectors))


def _sectors(changes: Iterable[Change]) -> list[int]:
    return [change.offset + at * SECTOR for change in changes for at in range(len(change.former))]


def _seen(base: ByteView, *views: PatchedView) -> Iterator[tuple[int, int, bytes]]:
    """The bytes on the disk wherever something is to be written."""
    for place, length in sorted({(at, len(data)) for view in views for at, _, data in view.changed()}):
        yield place, length, _digest(base.read(place, length))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _mark_dirty(plain: PlainVolume, facts: VolumeFacts) -> None:
    with open_view(plain.path, writable=True) as view:
        write_dirty(view, facts.geometry, dirty=True)
    plain.sync()
