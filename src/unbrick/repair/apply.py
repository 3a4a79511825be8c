"""Carries out a plan on a mounted copy of a volume: begins nothing that cannot be finished, deletes nothing.

Looks at every file again, moves (`moving.py`), and writes the journal.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import unbrick
from unbrick.errors import NeedsHandsError, Reason
from unbrick.files import PathError, find_inside, windows_path_of
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState, Changed, Plan, Touched
from unbrick.repair.disk_errors import disk_errors
from unbrick.repair.file_state import describe, read_three_times
from unbrick.repair.journal.fields import JournalError
from unbrick.repair.journal.file import create_journal, now
from unbrick.repair.journal.journal import check_of, encode_header, encode_mark, parse
from unbrick.repair.journal.record import Entry, Folder, Header, RunState
from unbrick.repair.moving import Places, find_places, move_away
from unbrick.repair.quarantine import JOURNAL, make_run_folder
from unbrick.repair.trust import find_playbook
from unbrick.windows.ntfs_file import FileAttributes


def apply_plan(
    root: Path,
    plan: Plan,
    *,
    volume_was_dirty: bool,
    playbooks: Sequence[Playbook],
    program: str = unbrick.__version__,
) -> Changed:
    """Move every file of the plan into the folder of its run; the actions are in the plan's order, done.

    `program` is what the journal says that wrote it. Raises NeedsHandsError, FailedError: then the mount must
    be thrown away, and with it what was begun.
    """
    if not plan.actions:
        return Changed((), Touched())
    with disk_errors("looking at the files to move", was_dirty=volume_was_dirty):
        header = replace(_prepare(root, plan, playbooks, volume_was_dirty), program=program)
    _expect_belief(header)
    with disk_errors("moving files into the quarantine", was_dirty=volume_was_dirty):
        folder = make_run_folder(root, header.run)
        places = find_places(root, folder, header)
        move_away(places)
        create_journal(folder, header)
    return Changed(
        tuple(replace(action, state=ActionState.DONE) for action in plan.actions),
        touched_by_repair(root, folder, places),
    )


def touched_by_repair(root: Path, folder: Path, places: Sequence[Places]) -> Touched:
    """All that a repair touches that moves files into the folder of its run."""
    return Touched(
        moved=tuple((one.entry.source, windows_path_of(root, one.quarantined)) for one in places),
        made=tuple(windows_path_of(root, one) for one in (folder.parent, folder, folder / JOURNAL)),
    )


def _prepare(root: Path, plan: Plan, playbooks: Sequence[Playbook], volume_was_dirty: bool) -> Header:
    """Look at every file as it is now; raises NeedsHandsError where one is not as planned."""
    entries: list[Entry] = []
    folders: dict[str, Folder] = {}
    for action in plan.actions:
        path = _find_planned(root, action)
        entry = describe(path, windows_path_of(root, path), action.quarantined_as, action.playbook)
        find_playbook(playbooks, entry)
        if (entry.sha256, entry.size) != (action.sha256, action.size):
            raise _not_as_planned(action, "its bytes are others than those that were judged")
        if entry.attributes & (FileAttributes.REPARSE_POINT | FileAttributes.DIRECTORY):
            raise _not_as_planned(action, "it is no plain file")
        entries.append(entry)
        folders[entry.parent] = Folder(entry.parent, read_three_times(path.parent))
    return Header(
        plan.run, unbrick.__version__, now(), volume_was_dirty, tuple(entries), tuple(folders.values())
    )


def _find_planned(root: Path, action: Action) -> Path:
    forbidden = why_forbidden(action.path)
    if forbidden is not None:
        raise NeedsHandsError(f"{action.path} is never moved: {forbidden}", reason=Reason.PROTECTED_FILE)
    try:
        path = find_inside(root, action.path)
    except PathError as error:
        raise _not_as_planned(action, error.message) from error
    if path is None:
        raise _not_as_planned(action, "it is not there any more")
    if not stat.S_ISREG(path.lstat().st_mode):
        raise _not_as_planned(action, "it is no plain file")
    return path


def _expect_belief(header: Header) -> None:
    """That an undo will believe what the journal is to say: hostile files have what ours never have."""
    line = encode_header(header)
    try:
        parse(line + encode_mark(RunState.REPAIRED, header.begun, check_of(line)))
    except JournalError as error:
        raise NeedsHandsError(
            f"what would be moved could not be put back: {error.why}",
            reason=Reason.PERSON_DECIDES,
            hint="look at the files that were found by hand; nothing was changed",
        ) from error


def _not_as_planned(action: Action, why: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{action.path} is not as it was when it was judged: {why}",
        reason=Reason.VERIFY_FAILED,
        hint="nothing was changed; diagnose this disk again",
    )
