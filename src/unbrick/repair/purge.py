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
from unbrick.model import Action, ActionState, Changed, Touched
from unbrick.repair.disk_errors import damaged, disk_errors
from unbrick.repair.file_state import expect_no_new_stream
from unbrick.repair.journal.fields import JournalError
from unbrick.repair.journal.file import JournalFile, open_journal
from unbrick.repair.journal.record import Entry, RunState
from unbrick.repair.moving import Places
from unbrick.repair.quarantine import find_run_folders
from unbrick.repair.trust import Authority, check_run

DELETE_QUARANTINED = "delete-quarantined"
"""The action's kind: a file that lies in the quarantine is deleted; its path is where it came from."""


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
    authority = Authority.of(playbooks, installation_folders)
    _, journal = find_purgeable(root, run, authority)
    return PurgePlan(
        run,
        tuple(
            replace(entry.to_action(ActionState.PLANNED), kind=DELETE_QUARANTINED)
            for entry in _lying(journal)
        ),
        authority,
    )


def apply_purge(root: Path, plan: PurgePlan) -> Changed:
    """Delete the run's files, its journal and its folder, and the quarantine with the last run.

    Raises as `plan_purge` does, or FailedError: then the mount must be thrown away, with what was begun.
    """
    folder, journal = find_purgeable(root, plan.run, plan.authority)
    touched = touched_by_purge(root, folder, journal)
    with disk_errors("deleting the quarantine"):
        for action in plan.actions:
            (folder / action.quarantined_as).unlink()
        journal.path.unlink()
        folder.rmdir()
        if not any(folder.parent.iterdir()):
            folder.parent.rmdir()
    return Changed(tuple(replace(action, state=ActionState.DONE) for action in plan.actions), touched)


def touched_by_purge(root: Path, folder: Path, journal: JournalFile) -> Touched:
    """All that purging a run touches; its folder is still there."""
    gone = [
        *(folder / entry.quarantined_as for entry in _lying(journal)),
        journal.path,
        folder,
        folder.parent,
    ]
    return Touched(deleted=tuple(windows_path_of(root, one) for one in gone))


def expect_purged(root: Path, plan: PurgePlan) -> None:
    """That nothing of the run is left; raises NeedsHandsError (damaged-volume)."""
    if any(name == plan.run for name, _ in find_run_folders(root)):
        raise damaged(f"the run {plan.run} is still listed after it was deleted")


def find_purgeable(root: Path, run: str, authority: Authority) -> tuple[Path, JournalFile]:
    """The run's folder, which holds what its journal says and nothing else, every file of it checked.

    Raises as `plan_purge` does.
    """
    for name, folder in find_run_folders(root):
        journal = open_journal(folder) if name == run else None
        if journal is not None:
            _expect_its_own(root, folder, journal, authority)
            return folder, journal
    raise NeedsHandsError(
        f"this volume has no run {run}",
        reason=Reason.NO_RUN,
        hint="unbrick runs DISK lists those that are there",
    )


def _lying(journal: JournalFile) -> tuple[Entry, ...]:
    """The files that lie in the quarantine; none where they were put back."""
    return journal.header.entries if journal.state is RunState.REPAIRED else ()


def _expect_its_own(root: Path, folder: Path, journal: JournalFile, authority: Authority) -> None:
    entries = _lying(journal)
    with disk_errors("looking at the quarantine"):
        found = {path.name for path in folder.iterdir()}
    expected = {journal.path.name, *(entry.quarantined_as for entry in entries)}
    if found != expected:
        name = min(found ^ expected)
        raise JournalError(f"{name} is {'not named in it' if name in found else 'not in the quarantine'}")
    with disk_errors("looking at the quarantine"):
        for path in (folder.parent, folder, journal.path):
            expect_no_new_stream(path, ())
        for entry in entries:
            expect_no_new_stream(folder / entry.quarantined_as, entry.streams)
    # Where they came from is of no account: nothing goes there.
    check_run(root, [Places(one, folder, folder / one.quarantined_as) for one in entries], authority)
