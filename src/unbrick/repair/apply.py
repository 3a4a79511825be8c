"""Carries out a plan on a mounted copy of a volume: begins nothing that cannot be finished, deletes nothing.

Every action is looked at again before the first is done; the journal is written when all are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import unbrick
from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, Plan, RunState, Touched
from unbrick.repair.actions.kind import ActionKind
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.journal.document import Journal, encode, parse
from unbrick.repair.journal.file import create_journal, now
from unbrick.repair.journal_fields import JournalError
from unbrick.repair.quarantine import JOURNAL, make_run_folder
from unbrick.repair.trust import find_playbook


def apply_plan(
    root: Path,
    plan: Plan,
    *,
    volume_was_dirty: bool,
    playbooks: Sequence[Playbook],
    program: str = unbrick.__version__,
) -> Changed:
    """Do every action of the plan, for the folder of its run; the actions are in the plan's order, done.

    `program` is what the journal says that wrote it. Raises NeedsHandsError, FailedError: then the mount must
    be thrown away, and with it what was begun.
    """
    if not plan.actions:
        return Changed((), Touched())
    entries = tuple(_prepare(root, action, playbooks, volume_was_dirty) for action in plan.actions)
    begun = now()
    journal = Journal(plan.run, program, begun, volume_was_dirty, entries, RunState.REPAIRED, begun)
    _expect_belief(journal)
    with disk_errors("moving files into the quarantine", was_dirty=volume_was_dirty):
        folder = make_run_folder(root, plan.run)
        for entry in entries:
            with disk_errors(entry.WORDS.doing, was_dirty=volume_was_dirty):
                entry.apply(root, folder)
        create_journal(folder, replace(journal, when=now()))
    return Changed(
        tuple(replace(action, state=ActionState.DONE) for action in plan.actions),
        touched_by_repair(root, folder, entries),
    )


def touched_by_repair(root: Path, folder: Path, entries: Sequence[ActionKind]) -> Touched:
    """All that a repair touches that has these entries in its journal."""
    made = (folder.parent, folder, folder / JOURNAL)
    return Touched.all_of(
        [
            *(entry.touched(root, folder) for entry in entries),
            Touched(made=tuple(windows_path_of(root, one) for one in made)),
        ]
    )


def _prepare(root: Path, action: Action, playbooks: Sequence[Playbook], volume_was_dirty: bool) -> ActionKind:
    """Look at an action's object as it is now; raises NeedsHandsError where that is not as planned."""
    kind = KINDS[action.kind]
    with disk_errors(kind.WORDS.looking, was_dirty=volume_was_dirty):
        entry = kind.prepare(root, action)
    find_playbook(playbooks, action.playbook)
    return entry


def _expect_belief(journal: Journal) -> None:
    """That an undo will believe what the journal is to say: hostile files have what ours never have."""
    try:
        parse(encode(journal))
    except JournalError as error:
        raise NeedsHandsError(
            f"what would be moved could not be put back: {error.why}",
            reason=Reason.PERSON_DECIDES,
            hint="look at the files that were found by hand; nothing was changed",
        ) from error
