"""Deletes a run's quarantine for good: its files, its journal, its folder. Nothing else deletes anything.

Only what a journal names that can be believed, and only in that run's own folder: a stranger's file beside it
stops it. No repair and no undo comes here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, RunState, Touched
from unbrick.repair.actions.kind import ActionKind
from unbrick.repair.disk_errors import damaged, disk_errors
from unbrick.repair.file_state import expect_no_new_stream
from unbrick.repair.journal.file import JournalFile, find_journals
from unbrick.repair.quarantine import find_run_folders
from unbrick.repair.trust import Authority, JournalError

DELETE_QUARANTINED = "delete-quarantined"
"""The action's kind: a file in the quarantine is deleted; its path is where it came from."""


@dataclass(frozen=True)
class PurgePlan:
    """What purging a run would delete. `actions` are its files; none where they were put back before."""

    run: str
    actions: tuple[Action, ...]
    authority: Authority


def plan_purge(
    root: Path, playbooks: Sequence[Playbook], installation_folders: Sequence[str], run: str
) -> PurgePlan:
    """What purging a run would delete; writes nothing.

    Raises NeedsHandsError: no-run, bad-journal, unknown-playbook, foreign-quarantine, quarantine-changed.
    """
    authority = Authority(playbooks, installation_folders)
    kept = _kept(find_purgeable(root, run, authority))
    actions = (entry.to_action(ActionState.PLANNED) for entry in kept if entry.quarantined)
    return PurgePlan(run, tuple(replace(one, kind=DELETE_QUARANTINED) for one in actions), authority)


def apply_purge(root: Path, plan: PurgePlan) -> Changed:
    """Delete the run's files, its journal and its folder, and the quarantine with the last run.

    Raises as `plan_purge` does, or FailedError: then the mount must be thrown away, with what was begun.
    """
    opened = find_purgeable(root, plan.run, plan.authority)
    touched = touched_by_purge(root, opened)
    folder = opened.folder
    with disk_errors("deleting the quarantine"):
        for name in _names(opened):
            (folder / name).unlink()
        opened.path.unlink()
        folder.rmdir()
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    return Changed(tuple(replace(action, state=ActionState.DONE) for action in plan.actions), touched)


def touched_by_purge(root: Path, opened: JournalFile) -> Touched:
    """All that purging a run touches; its folder is still there."""
    folder = opened.folder
    gone = [*(folder / name for name in _names(opened)), opened.path, folder, folder.parent]
    return Touched(deleted=tuple(windows_path_of(root, one) for one in gone))


def expect_purged(root: Path, plan: PurgePlan) -> None:
    """Raise NeedsHandsError (damaged-volume) where the run is still there."""
    if any(name == plan.run for name, _ in find_run_folders(root)):
        raise damaged(f"the run {plan.run} is still listed after it was deleted")


def find_purgeable(root: Path, run: str, authority: Authority) -> JournalFile:
    """The run's journal, whose folder holds what it says and nothing else, every file of it checked.

    Raises as `plan_purge` does.
    """
    for opened in find_journals(root, run):
        _expect_its_own(root, opened, authority)
        return opened
    raise NeedsHandsError(
        f"this volume has no run {run}",
        reason=Reason.NO_RUN,
        hint="unbrick runs DISK lists those that are there",
    )


def _kept(opened: JournalFile) -> tuple[ActionKind, ...]:
    """The actions whose files are in the quarantine; none where they were put back."""
    return opened.journal.entries if opened.journal.state is RunState.REPAIRED else ()


def _names(opened: JournalFile) -> list[str]:
    return [name for entry in _kept(opened) for name in entry.quarantined]


def _expect_its_own(root: Path, opened: JournalFile, authority: Authority) -> None:
    folder = opened.folder
    with disk_errors("looking at the quarantine"):
        found = {path.name for path in folder.iterdir()}
    expected = {opened.path.name, *_names(opened)}
    if found != expected:
        name = min(found ^ expected)
        raise JournalError(f"{name} is {'not named in it' if name in found else 'not in the quarantine'}")
    with disk_errors("looking at the quarantine"):
        for path in (folder.parent, folder, opened.path):
            expect_no_new_stream(path, ())
        for entry in _kept(opened):
            entry.expect_only_its_own(folder)
    # Where they came from does not matter: nothing goes there.
    for entry in _kept(opened):
        entry.expect_trusted(root, folder, authority)
