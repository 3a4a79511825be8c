"""Reads back what a repair did, from the volume alone: journal, quarantine, and nothing left where it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unbrick.errors import FailedError, Reason
from unbrick.model import Action, ActionState
from unbrick.repair.disk_errors import disk_errors, look
from unbrick.repair.file_state import expect_same_file, expect_settled
from unbrick.repair.journal.file import open_journal
from unbrick.repair.journal.record import RunState
from unbrick.repair.moving import Places, find_places
from unbrick.repair.quarantine import find_run_folders


def verify_applied(root: Path, actions: Sequence[Action]) -> None:
    """That every action that was done is recorded in a finished run's journal, and is so on the volume.

    Raises FailedError (verify-failed), and NeedsHandsError where journal or quarantine cannot be believed.
    """
    missing = {_key(action): action for action in actions if action.state is ActionState.DONE}
    for _, folder in find_run_folders(root) if missing else ():
        journal = open_journal(folder)
        if journal is None or journal.state is not RunState.REPAIRED:
            continue
        if missing.keys().isdisjoint(_key(e.to_action(ActionState.DONE)) for e in journal.header.entries):
            continue  # an older run: whether its folders are still there is no question of this one
        for place in find_places(root, folder, journal.header):
            if missing.pop(_key(place.entry.to_action(ActionState.DONE)), None) is not None:
                with disk_errors("reading back what was done"):
                    _expect_moved(place)
    if missing:
        path = next(iter(missing.values())).path
        raise _not_done(f"no journal on the volume records {path} as moved")


def _key(action: Action) -> tuple[str, str, str, str, int]:
    return action.path.casefold(), action.quarantined_as, action.playbook, action.sha256, action.size


def _expect_moved(place: Places) -> None:
    if look(place.source) is not None:
        raise _not_done(f"{place.entry.source} is still there")
    if look(place.quarantined) is None:
        raise _not_done(f"{place.entry.source} is not in the quarantine")
    expect_same_file(place.quarantined, place.entry)
    expect_settled(place.quarantined, place.entry)


def _not_done(why: str) -> FailedError:
    return FailedError(
        f"the repair could not be confirmed: {why}",
        reason=Reason.VERIFY_FAILED,
        hint="run it again; if that does not help, look at this disk by hand",
    )
