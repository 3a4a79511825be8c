"""Reads back what a repair did, from the volume alone: journal, quarantine, and nothing left where it was."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unbrick.errors import FailedError, Reason
from unbrick.model import Action
from unbrick.repair.disk_errors import disk_errors, look
from unbrick.repair.file_state import expect_same_file, expect_settled
from unbrick.repair.journal_file import open_journal
from unbrick.repair.moving import open_run
from unbrick.repair.quarantine import find_run_folders
from unbrick.repair.record import RunState


def verify_applied(root: Path, actions: Sequence[Action]) -> None:
    """That these actions are what a finished run's journal records, and that all of it is so on the volume.

    Raises FailedError (verify-failed), and NeedsHandsError where journal or quarantine cannot be believed.
    """
    if not actions:
        return
    wanted = {(a.path.casefold(), a.quarantined_as, a.playbook, a.sha256, a.size) for a in actions}
    for _, folder in find_run_folders(root):
        journal = open_journal(folder)
        if journal is None or journal.state is not RunState.REPAIRED:
            continue
        run = open_run(root, folder, journal)
        if wanted == {
            (e.source.casefold(), e.quarantined_as, e.playbook, e.sha256, e.size)
            for e in journal.header.entries
        }:
            with disk_errors("reading back what was done"):
                for place in run.places:
                    if look(place.source) is not None:
                        raise _not_done(f"{place.entry.source} is still there")
                    if look(place.quarantined) is None:
                        raise _not_done(f"{place.entry.source} is not in the quarantine")
                    expect_same_file(place.quarantined, place.entry)
                    expect_settled(place.quarantined, place.entry)
            return
    raise _not_done("no journal on the volume records it as finished")


def _not_done(why: str) -> FailedError:
    return FailedError(f"the repair could not be confirmed: {why}", reason=Reason.VERIFY_FAILED)
