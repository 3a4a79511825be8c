"""What the journals of a volume say of earlier runs: what each did, when, and from which medium.

For what is shown to a person or a script only: nothing is decided by it.
"""

from __future__ import annotations

import re
from itertools import islice
from pathlib import Path

import unbrick
from unbrick.errors import UnbrickError
from unbrick.model import ActionState, EarlierRun, RunState
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.journal.file import JournalFile, open_journal
from unbrick.repair.quarantine import begun_at, find_run_folders

_PROGRAM = re.compile(r"(\S+) medium ([0-9a-f]{16})")
_ACTION_STATE = {RunState.REPAIRED: ActionState.DONE, RunState.UNDONE: ActionState.UNDONE}


def program_name(medium: str | None) -> str:
    """What a journal names as its writer: our version, and the medium's id (16 hexadecimal digits) if any."""
    return f"{unbrick.__version__} medium {medium}" if medium else unbrick.__version__


def read_runs(
    root: Path, partition: int | None, most: int | None = None
) -> tuple[tuple[EarlierRun, ...], UnbrickError | None]:
    """The newest runs of a volume whose journals can be believed, newest first, at `most` that many.

    Also the first reason why one could not be; raises nothing of ours.
    """
    runs: list[EarlierRun] = []
    trouble: UnbrickError | None = None
    try:
        with disk_errors("looking for earlier runs"):
            for _, folder in islice(find_run_folders(root), most):
                try:
                    opened = open_journal(folder)
                except UnbrickError as error:
                    trouble = trouble or error
                else:
                    if opened is not None:
                        runs.append(_earlier_run(opened, partition))
    except UnbrickError as error:
        trouble = trouble or error
    return tuple(runs), trouble


def _earlier_run(opened: JournalFile, partition: int | None) -> EarlierRun:
    journal = opened.journal
    match = _PROGRAM.fullmatch(journal.program)
    return EarlierRun(
        run=journal.run,
        when=journal.when,
        medium=match[2] if match else None,
        state=journal.state,
        program=match[1] if match else journal.program,
        partitions=(partition,),
        actions=tuple(entry.to_action(_ACTION_STATE[journal.state]) for entry in journal.entries),
        begun=begun_at(opened.folder),
    )
