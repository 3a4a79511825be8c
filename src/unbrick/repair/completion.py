"""What a run that was cut off may touch when it is completed, and whether it may be: its journal says so.

That journal is as hostile as any (`trust.py`). A repair and an undo have left theirs on the volume as it will
be; a purge only on the volume as it was.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason
from unbrick.model import RunState, Touched
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.journal.document import Journal
from unbrick.repair.journal.file import find_journals
from unbrick.repair.purge import find_purgeable, touched_by_purge
from unbrick.repair.repair import touched_by_repair
from unbrick.repair.trust import Authority, JournalError
from unbrick.repair.undo import open_repaired, touched_by_undo


def judge_completion(
    completed: Path, as_before: Callable[[], AbstractContextManager[Path]], run: str, authority: Authority
) -> Touched:
    """All that a cut run may touch, by the volume as it will be and, where needed, as it was before.

    Windows' dirty flag may go with it where the journal says that the volume was clean before. Raises
    NeedsHandsError (bad-journal, unknown-playbook, foreign-quarantine, …), FailedError.
    """
    with disk_errors("looking at the run that was cut off"):
        try:
            touched, journal = _judge(completed, as_before, run, authority)
        except NeedsHandsError as error:
            if error.reason != Reason.UNKNOWN_PLAYBOOK:
                raise
            raise NeedsHandsError(
                f"a run was cut off here, and is finished only with its own playbook: {error.message}",
                hint=error.hint,
                reason=Reason.UNKNOWN_PLAYBOOK,
            ) from error
    return replace(touched, leaves_clean=not journal.volume_was_dirty)


def _judge(
    completed: Path, as_before: Callable[[], AbstractContextManager[Path]], run: str, authority: Authority
) -> tuple[Touched, Journal]:
    found = next((opened.journal for opened in find_journals(completed, run)), None)
    if found is not None and found.state is RunState.REPAIRED:
        opened = open_repaired(completed, run, authority)
        return touched_by_repair(completed, opened.folder, opened.journal.entries), opened.journal
    with as_before() as before:
        if found is None:
            opened = find_purgeable(before, run, authority)
            return touched_by_purge(before, opened), opened.journal
        opened = open_repaired(before, run, authority)
        if replace(found, state=opened.journal.state, when=opened.journal.when) != opened.journal:
            raise JournalError("an undo that was cut off would make another of it")
        return touched_by_undo(before, opened), opened.journal
