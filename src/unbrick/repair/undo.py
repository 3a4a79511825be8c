"""Takes back what an earlier run did, each action by its kind, the last one first.

A run's journal is hostile: an entry is obeyed only where its kind trusts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, RunState, Touched
from unbrick.repair.disk_errors import damaged, disk_errors
from unbrick.repair.journal.document import Journal
from unbrick.repair.journal.file import JournalFile, find_journals
from unbrick.repair.quarantine import find_homes, find_unreadable_run
from unbrick.repair.trust import Authority


@dataclass(frozen=True)
class UndoPlan:
    """What undoing a run would do. Made by looking only; `apply_undo` looks at everything again.

    `notes` are sentences for a person: what cannot be put back exactly.
    """

    run: str
    actions: tuple[Action, ...]
    authority: Authority
    notes: tuple[str, ...] = ()


def find_runs(root: Path) -> tuple[Journal, ...]:
    """Every recorded run, the newest first; raises NeedsHandsError (foreign-quarantine, bad-journal)."""
    return tuple(opened.journal for opened in find_journals(root))


def plan_undo(
    root: Path, playbooks: Sequence[Playbook], installation_folders: Sequence[str], run: str | None = None
) -> UndoPlan:
    """What undoing `run` would do, or where None the newest run that is not undone yet; writes nothing.

    Raises NeedsHandsError: no-run, bad-journal, unknown-playbook, foreign-quarantine, something-in-the-way,
    quarantine-changed.
    """
    authority = Authority(playbooks, installation_folders)
    opened = open_repaired(root, run, authority)
    entries = opened.journal.entries
    return UndoPlan(
        run=opened.journal.run,
        actions=tuple(entry.to_action(ActionState.PLANNED) for entry in entries),
        authority=authority,
        notes=tuple(note for entry in entries for note in entry.losses(root, opened.folder)),
    )


def apply_undo(root: Path, plan: UndoPlan) -> Changed:
    """Take back every action of a run; the actions are undone.

    Raises as `plan_undo` does, or FailedError: then the mount must be thrown away, with what was begun.
    """
    opened = open_repaired(root, plan.run, plan.authority)
    entries = opened.journal.entries
    with disk_errors("putting the files back"):
        for entry in reversed(entries):
            with disk_errors(entry.WORDS.undoing):
                entry.undo(root, opened.folder)
        for entry in entries:
            entry.verify_undone(root, opened.folder)
        opened.reach(RunState.UNDONE)
    return Changed(
        tuple(replace(action, state=ActionState.UNDONE) for action in plan.actions),
        touched_by_undo(root, opened),
    )


def touched_by_undo(root: Path, opened: JournalFile) -> Touched:
    """All that an undo touches that takes back what a journal names."""
    entries = [entry.touched_by_undo(root, opened.folder) for entry in opened.journal.entries]
    return Touched.all_of([*entries, Touched(rewritten=(windows_path_of(root, opened.path),))])


def open_repaired(root: Path, run: str | None, authority: Authority) -> JournalFile:
    """The journal of the run to undo, every entry of it checked; raises as `plan_undo` does."""
    opened = _choose(root, run)
    entries = opened.journal.entries
    for entry in entries:
        entry.expect_free(root, opened.folder)
    for entry in entries:
        entry.expect_trusted(root, opened.folder, authority)
    with disk_errors("looking at the files to put back"):
        for entry in entries:
            entry.expect_as_left(opened.folder)
    return opened


def _choose(root: Path, run: str | None) -> JournalFile:
    for opened in find_journals(root, run):
        if opened.journal.state is RunState.REPAIRED:
            return opened
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
