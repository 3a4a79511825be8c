"""Finds runs that were interrupted and finishes them, or rolls them back, whichever is possible.

A journal that an interrupted run left is as hostile as any: nothing is touched before `trust.py` agrees. What
`disks/mount.py` changes reaches the disk whole, so of a cut there only the run that it completes is left to
be told; runs stopped halfway are of mounts without that, as the tests of this room make them.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from unbrick.files import find_entry, split_windows_path, windows_path_of
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState
from unbrick.repair.disk_errors import damaged, disk_errors, look
from unbrick.repair.journal_fields import JournalError
from unbrick.repair.journal_file import open_journal
from unbrick.repair.moving import (
    OpenRun,
    adopt_lone_short_names,
    finish_repair,
    finish_undo,
    open_run,
    roll_back_repair,
)
from unbrick.repair.quarantine import HOME, find_run_folders
from unbrick.repair.record import UNFINISHED, Header, RunState
from unbrick.repair.trust import Authority, check_run, find_playbook


@dataclass(frozen=True)
class UnfinishedRun:
    """A run that a cut or a crash stopped, and how far it had come."""

    header: Header
    state: RunState

    @property
    def run(self) -> str:
        """Its id."""
        return self.header.run


@dataclass(frozen=True)
class ResumeResult:
    """What finishing a run did: its actions (done, undone, or planned again where it was rolled back).

    `volume_was_dirty` is how Windows had left the volume before that run's first write. `torn` says that the
    cut left a name that Windows clears away when it checks the volume. `notes` are sentences for a person
    about traces that such a check would rather make worse.
    """

    run: str
    state: RunState
    actions: tuple[Action, ...]
    volume_was_dirty: bool
    torn: bool
    notes: tuple[str, ...] = ()

    @property
    def must_be_checked(self) -> bool:
        """Whether the volume stays dirty, so that Windows checks it.

        What ntfs-3g had not written of its own records (a cluster marked as taken, a count) cannot be seen
        from here, so every cut is a reason; the only reason against one are the traces of `notes`.
        """
        return self.volume_was_dirty or self.torn or not self.notes


def find_unfinished(
    root: Path, playbooks: Sequence[Playbook], cut_off: str | None = None
) -> tuple[UnfinishedRun, ...]:
    """Every interrupted run of a volume, the newest first; reads only.

    `cut_off` is the id of one that was finished here, but not where it counts: on the disk itself. Raises
    NeedsHandsError: foreign-quarantine, bad-journal, unknown-playbook.
    """
    found: list[UnfinishedRun] = []
    for _, folder in find_run_folders(root):
        journal = open_journal(folder)
        if journal is not None and (journal.state in UNFINISHED or journal.header.run == cut_off):
            for entry in journal.header.entries:
                find_playbook(playbooks, entry)
            found.append(UnfinishedRun(journal.header, journal.state))
    return tuple(found)


def check_unfinished(
    root: Path, run: UnfinishedRun, playbooks: Sequence[Playbook], installation_folders: Sequence[str]
) -> None:
    """Foresee whether `finish` would refuse a run, from a look at the volume; reads only.

    Raises what `finish` raises before its first write.
    """
    if run.state in UNFINISHED:
        _open_checked(root, run, playbooks, installation_folders)


def finish(
    root: Path,
    run: UnfinishedRun,
    playbooks: Sequence[Playbook],
    installation_folders: Sequence[str],
    *,
    sync: Callable[[], None],
    on_action: Callable[[Action], None],
) -> ResumeResult:
    """Bring one interrupted run to an end: forward where every file has its new name, else back.

    Raises NeedsHandsError (bad-journal and the reasons of `trust.py`) with nothing written, or
    damaged-volume where the file system's records contradict each other.
    """
    if run.state not in UNFINISHED:
        return _as_finished(run)
    opened = _open_checked(root, run, playbooks, installation_folders)
    with disk_errors(f"finishing the run {run.run}"):
        action_state = _finish(opened, sync)
    journal = opened.journal
    actions = tuple(entry.to_action(action_state) for entry in journal.header.entries)
    for action in actions:
        on_action(action)
    return ResumeResult(
        run.run,
        journal.state,
        actions,
        journal.header.volume_was_dirty,
        opened.torn,
        tuple(opened.notes),
    )


def _as_finished(run: UnfinishedRun) -> ResumeResult:
    """What came of a run of which nothing was left to do but to bring it to the disk."""
    state = ActionState.DONE if run.state is RunState.REPAIRED else ActionState.UNDONE
    actions = tuple(entry.to_action(state) for entry in run.header.entries)
    return ResumeResult(run.run, run.state, actions, run.header.volume_was_dirty, torn=False)


def _open_checked(
    root: Path, run: UnfinishedRun, playbooks: Sequence[Playbook], installation_folders: Sequence[str]
) -> OpenRun:
    folder = root / HOME / run.run
    for name, found in find_run_folders(root):
        if name == run.run:
            folder = found
    journal = open_journal(folder)
    if journal is None or journal.state not in UNFINISHED:
        raise JournalError(f"{run.run} is not unfinished any more")
    for former in journal.header.folders:
        _expect_whole(root, former.path)
    opened = open_run(root, folder, journal)
    check_run(opened, Authority.of(playbooks, installation_folders))
    return opened


def _expect_whole(root: Path, folder: str) -> None:
    """That a folder and those above it can be listed: of a torn one ntfs-3g says that its files are missing.

    Raises NeedsHandsError (damaged-volume).
    """
    current: Path | None = root
    parts = iter(split_windows_path(folder))
    while current is not None:
        try:
            if not stat.S_ISDIR(current.lstat().st_mode):
                return
            for _ in current.iterdir():
                pass
        except OSError as error:
            shown = windows_path_of(root, current)
            raise damaged(f"the folder {shown} cannot be read whole: {error.strerror}") from error
        part = next(parts, None)
        current = None if part is None else find_entry(current, part)


def _finish(run: OpenRun, sync: Callable[[], None]) -> ActionState:
    """Forward where every file has its new name for sure (an undo always: it was asked for), else back."""
    if run.journal.state in (RunState.PREPARED, RunState.LINKED):
        if run.journal.state is RunState.LINKED or any(look(p.source) is None for p in run.places):
            finish_repair(run, sync)
            return ActionState.DONE
        roll_back_repair(run, sync)
        return ActionState.PLANNED
    adopt_lone_short_names(run)
    finish_undo(run, sync)
    return ActionState.UNDONE
