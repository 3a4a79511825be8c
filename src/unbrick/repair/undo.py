"""Puts back what an earlier run took away: bytes, names, attributes, ACL, streams, links and times.

A run's journal is hostile: an entry is obeyed only where `trust.py` agrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, Touched
from unbrick.repair.disk_errors import damaged, disk_errors, look
from unbrick.repair.file_state import expect_as_it_was_moved
from unbrick.repair.journal.fields import JournalError
from unbrick.repair.journal.file import JournalFile, open_journal
from unbrick.repair.journal.record import Header, RunState
from unbrick.repair.moving import Places, find_places, put_back
from unbrick.repair.quarantine import find_homes, find_run_folders, find_unreadable_run
from unbrick.repair.trust import Authority, check_run


@dataclass(frozen=True)
class RecordedRun:
    """A run whose journal lies on a volume, and what it has done."""

    header: Header
    state: RunState

    @property
    def run(self) -> str:
        """Its id, which begins with the time of the run."""
        return self.header.run


@dataclass(frozen=True)
class UndoPlan:
    """What undoing a run would do. Made by looking only; `apply_undo` looks at everything again.

    `notes` are sentences for a person: what cannot be put back exactly.
    """

    run: str
    actions: tuple[Action, ...]
    authority: Authority
    notes: tuple[str, ...] = ()


def find_runs(root: Path) -> tuple[RecordedRun, ...]:
    """Every recorded run, the newest first; raises NeedsHandsError (foreign-quarantine, bad-journal)."""
    journals = [open_journal(folder) for _, folder in find_run_folders(root)]
    return tuple(RecordedRun(j.header, j.state) for j in journals if j is not None)


def plan_undo(
    root: Path, playbooks: Sequence[Playbook], installation_folders: Sequence[str], run: str | None = None
) -> UndoPlan:
    """What undoing `run` would do, or where None the newest run that is not undone yet; writes nothing.

    Raises NeedsHandsError: no-run, bad-journal, unknown-playbook, foreign-quarantine, something-in-the-way,
    quarantine-changed.
    """
    authority = Authority.of(playbooks, installation_folders)
    journal, places = open_repaired(root, run, authority)
    return UndoPlan(
        run=journal.header.run,
        actions=tuple(entry.to_action(ActionState.PLANNED) for entry in journal.header.entries),
        authority=authority,
        notes=_lost_short_names(places),
    )


def apply_undo(root: Path, plan: UndoPlan) -> Changed:
    """Put every file of a run back; the actions are undone.

    Raises as `plan_undo` does, or FailedError: then the mount must be thrown away, with what was begun.
    """
    journal, places = open_repaired(root, plan.run, plan.authority)
    with disk_errors("putting the files back"):
        put_back(root, journal.header, places)
        journal.reach(RunState.UNDONE)
    return Changed(
        tuple(replace(action, state=ActionState.UNDONE) for action in plan.actions),
        touched_by_undo(root, journal, places),
    )


def touched_by_undo(root: Path, journal: JournalFile, places: Sequence[Places]) -> Touched:
    """All that an undo touches that puts back what a journal names."""
    return Touched(
        moved=tuple((windows_path_of(root, one.quarantined), one.entry.source) for one in places),
        rewritten=(windows_path_of(root, journal.path),),
    )


def open_repaired(
    root: Path, run: str | None, authority: Authority
) -> tuple[JournalFile, tuple[Places, ...]]:
    """The run to undo, every entry of it checked; raises as `plan_undo` does."""
    folder, journal = _choose(root, run)
    places = find_places(root, folder, journal.header)
    for place in places:
        if look(place.source) is not None:
            raise NeedsHandsError(
                f"something is at {place.entry.source} now, where the former file would go",
                reason=Reason.SOMETHING_IN_THE_WAY,
                hint="look at that file; to get the former one back, move it away and run unbrick again",
            )
        if look(place.quarantined) is None:
            raise JournalError(f"{place.entry.quarantined_as} is not in the quarantine")
    check_run(root, places, authority)
    with disk_errors("looking at the files to put back"):
        for place in places:
            expect_as_it_was_moved(place.quarantined, place.entry)
    return journal, places


def _choose(root: Path, run: str | None) -> tuple[Path, JournalFile]:
    for name, folder in find_run_folders(root):
        if run is not None and name != run:
            continue
        journal = open_journal(folder)
        if journal is not None and journal.state is RunState.REPAIRED:
            return folder, journal
    unreadable = find_unreadable_run(root)
    if unreadable is not None:
        raise damaged(f"the run {unreadable} cannot be read")
    for foreign in find_homes(root).foreign:
        raise foreign  # it may be why there is none
    raise NeedsHandsError(
        f"this volume has no run {run} to undo" if run else "this volume has no run to undo",
        reason=Reason.NO_RUN,
        hint="unbrick runs DISK lists those that are there",
    )


def _lost_short_names(places: Sequence[Places]) -> tuple[str, ...]:
    """A note for every 8.3 name that cannot come back."""
    notes: list[str] = []
    for place in places:
        source = place.entry.source
        if place.short_name_is_taken:
            notes.append(f"{source} comes back without its 8.3 name: another file has it now")
        elif place.entry.short_name is not None and place.quarantined.lstat().st_nlink > 1:
            notes.append(f"{source} comes back without its 8.3 name: it has a second name elsewhere")
    return tuple(notes)
