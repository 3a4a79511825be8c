"""A repair: planned, done on a mounted copy of a volume, read back. `undo.py` and `purge.py` are its likes.

A plan is pure: it looks at nothing, and a dry run is a plan that nobody applies.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import unbrick
from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, Finding, Plan, RunState, Touched
from unbrick.repair.actions.kind import ActionKind, not_done
from unbrick.repair.actions.kinds import KINDS
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.journal.document import Journal, encode, parse
from unbrick.repair.journal.file import create_journal, find_journals, now
from unbrick.repair.quarantine import JOURNAL, make_run_folder
from unbrick.repair.trust import JournalError, find_playbook


def make_plan(run: str, findings: Sequence[Finding]) -> Plan:
    """What each kind of action would do. Raises NeedsHandsError where one of them cannot say."""
    return Plan(run, tuple(action for kind in KINDS.values() for action in kind.plan(findings)))


def apply_plan(
    root: Path,
    plan: Plan,
    *,
    volume_was_dirty: bool,
    playbooks: Sequence[Playbook],
    program: str = unbrick.__version__,
) -> Changed:
    """Do every action of the plan, for the folder of its run; the actions are in the plan's order, done.

    `program` is what the journal names as its writer. Raises NeedsHandsError, FailedError: then the mount
    must be thrown away, and with it what was begun.
    """
    if not plan.actions:
        return Changed((), Touched())
    # All are looked at again before the first is done: nothing is begun that cannot be finished.
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
    made = tuple(windows_path_of(root, one) for one in (folder.parent, folder, folder / JOURNAL))
    return Touched.all_of([*(entry.touched(root, folder) for entry in entries), Touched(made=made)])


def verify_applied(root: Path, actions: Sequence[Action]) -> None:
    """Read back from the volume alone that every done action is in a repaired run's journal, and is done.

    Raises FailedError (verify-failed), and NeedsHandsError where journal or quarantine cannot be believed.
    """
    missing = {_in_any_case(action): action for action in actions if action.state is ActionState.DONE}
    for opened in find_journals(root) if missing else ():
        if opened.journal.state is not RunState.REPAIRED:
            continue
        for entry in opened.journal.entries:
            if missing.pop(_in_any_case(entry.to_action(ActionState.DONE)), None) is not None:
                with disk_errors("reading back what was done"):
                    entry.verify(root, opened.folder)
    if missing:
        path = next(iter(missing.values())).path
        raise not_done(f"no journal on the volume records {path} as moved")


def _in_any_case(action: Action) -> Action:
    # The plan has a path as it was found, the journal as the disk spells it.
    return replace(action, path=action.path.casefold())


def _prepare(root: Path, action: Action, playbooks: Sequence[Playbook], volume_was_dirty: bool) -> ActionKind:
    kind = KINDS[action.kind]
    with disk_errors(kind.WORDS.looking, was_dirty=volume_was_dirty):
        entry = kind.prepare(root, action)
    find_playbook(playbooks, action.playbook)
    return entry


def _expect_belief(journal: Journal) -> None:
    """Raise unless an undo will believe the journal: a hostile file has what no journal of ours may have."""
    try:
        parse(encode(journal))
    except JournalError as error:
        raise NeedsHandsError(
            f"what would be moved could not be put back: {error.why}",
            reason=Reason.PERSON_DECIDES,
            hint="look at the files that were found by hand; nothing was changed",
        ) from error
