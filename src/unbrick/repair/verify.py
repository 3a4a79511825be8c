"""Reads back what a repair did, from the volume alone: the journal, and each action by its kind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from unbrick.model import Action, ActionState, RunState
from unbrick.repair.actions.kind import not_done
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.journal.file import open_journal
from unbrick.repair.quarantine import find_run_folders


def verify_applied(root: Path, actions: Sequence[Action]) -> None:
    """That every action that was done is recorded in a finished run's journal, and is so on the volume.

    Raises FailedError (verify-failed), and NeedsHandsError where journal or quarantine cannot be believed.
    """
    missing = {_in_any_case(action): action for action in actions if action.state is ActionState.DONE}
    for _, folder in find_run_folders(root) if missing else ():
        opened = open_journal(folder)
        if opened is None or opened.journal.state is not RunState.REPAIRED:
            continue
        for entry in opened.journal.entries:
            if missing.pop(_in_any_case(entry.to_action(ActionState.DONE)), None) is not None:
                with disk_errors("reading back what was done"):
                    entry.verify(root, folder)
    if missing:
        path = next(iter(missing.values())).path
        raise not_done(f"no journal on the volume records {path} as moved")


def _in_any_case(action: Action) -> Action:
    """The plan has a path as it was found, the journal as the disk spells it."""
    return replace(action, path=action.path.casefold())
