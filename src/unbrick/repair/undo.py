"""Puts back what an earlier run took away: bytes, names, attributes, ACL, streams, links and times.

A run's journal is hostile: an entry is obeyed only where `trust.py` agrees. An undo is journalled itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason, UnbrickError
from unbrick.incidents.playbook import Playbook
from unbrick.model import Action, ActionState
from unbrick.repair.disk_errors import damaged, disk_errors, look
from unbrick.repair.journal_fields import JournalError
from unbrick.repair.journal_file import JournalFile, open_journal
from unbrick.repair.moving import OpenRun, finish_undo, open_run, roll_back_undo
from unbrick.repair.quarantine import find_run_folders, find_unreadable_run
from unbrick.repair.record import UNFINISHED, Header, RunState
from unbrick.repair.trust import Authority, check_run


@dataclass(frozen=True)
class RecordedRun:
    """A run whose journal lies on a volume, and how far it came."""

    header: Header
    state: RunState

    @property
    def run(self) -> str:
        """Its id, which begins with the time of the run."""
        return self.header.run


@dataclass(frozen=True)
class UndoPlan:
    """What undoing a run would do. Made by looking only; `apply_undo` looks at everything again.

    `notes` are sentences for a person: what cannot be put back exactly.
    """

    run: str
    actions: tuple[Action, ...]
    volume_was_dirty: bool
    authority: Authority
    notes: tuple[str, ...] = ()


def find_runs(root: Path) -> tuple[RecordedRun, ...]:
    """Every recorded run, the newest first; raises NeedsHandsError (foreign-quarantine, bad-journal)."""
    journals = [open_journal(folder) for _, folder in find_run_folders(root)]
    return tuple(RecordedRun(j.header, j.state) for j in journals if j is not None)


def plan_undo(
    root: Path, playbooks: Sequence[Playbook], installation_folders: Sequence[str], run: str | None = None
) -> UndoPlan:
    """What undoing `run` would do, or where None the newest run that is not undone yet; writes nothing.

    Raises NeedsHandsError: no-run, interrupted (finish it first), bad-journal, unknown-playbook,
    foreign-quarantine, something-in-the-way.
    """
    authority = Authority.of(playbooks, installation_folders)
    opened = _open_repaired(root, run, authority)
    entries = opened.journal.header.entries
    return UndoPlan(
        run=opened.journal.header.run,
        actions=tuple(entry.to_action(ActionState.PLANNED) for entry in entries),
        volume_was_dirty=opened.journal.header.volume_was_dirty,
        authority=authority,
        notes=_lost_short_names(opened),
    )


def apply_undo(
    root: Path,
    plan: UndoPlan,
    *,
    sync: Callable[[], None],
    on_action: Callable[[Action], None],
    on_torn: Callable[[], None] = lambda: None,
) -> tuple[Action, ...]:
    """Put every file of a run back; gives the actions, undone. `sync` flushes everything down to the disk.

    `on_torn` is called where traces of a cut of the repair were met that Windows should clear away. Raises
    as `plan_undo` does with nothing written, or FailedError where it was rolled back to `repaired`.
    """
    opened = _open_repaired(root, plan.run, plan.authority)
    with disk_errors("beginning to undo"):
        opened.journal.reach(RunState.UNDO_BEGUN, sync)
    try:
        with disk_errors("putting the files back"):
            finish_undo(opened, sync)
    except UnbrickError as error:
        _roll_back(opened, sync, error)
        raise
    if opened.torn:
        on_torn()
    done = tuple(replace(action, state=ActionState.UNDONE) for action in plan.actions)
    for action in done:
        on_action(action)
    return done


def _open_repaired(root: Path, run: str | None, authority: Authority) -> OpenRun:
    """The run to undo, every entry of it checked."""
    folder, journal = _choose(root, run)
    if journal.state in UNFINISHED:
        raise NeedsHandsError(
            f"the run {journal.header.run} was interrupted",
            reason=Reason.INTERRUPTED,
            hint="run unbrick repair, which finishes it, then undo it",
        )
    opened = open_run(root, folder, journal)
    for place in opened.places:
        if look(place.source) is not None:
            raise NeedsHandsError(
                f"something is at {place.entry.source} now, where the former file would go",
                reason=Reason.SOMETHING_IN_THE_WAY,
                hint="look at that file; move it away if the former one shall come back",
            )
        if look(place.quarantined) is None:
            raise JournalError(f"{place.entry.quarantined_as} is not in the quarantine")
    check_run(opened, authority)
    return opened


def _choose(root: Path, run: str | None) -> tuple[Path, JournalFile]:
    for name, folder in find_run_folders(root):
        if run is not None and name != run:
            continue
        journal = open_journal(folder)
        if journal is not None and journal.state not in (RunState.UNDONE, RunState.ROLLED_BACK):
            return folder, journal
    unreadable = find_unreadable_run(root)
    if unreadable is not None:
        raise damaged(f"the run {unreadable} cannot be read")
    raise NeedsHandsError(
        f"this volume has no run {run} to undo" if run else "this volume has no run to undo",
        reason=Reason.NO_RUN,
    )


def _lost_short_names(run: OpenRun) -> tuple[str, ...]:
    """A note for every 8.3 name that cannot come back."""
    notes: list[str] = []
    for place in run.places:
        source = place.entry.source
        if place.lone_short_name is not None:
            notes.append(f"{source} comes back without its 8.3 name: another file has it now")
        elif place.entry.short_name is not None and place.quarantined.lstat().st_nlink > 1:
            notes.append(f"{source} comes back without its 8.3 name: it has a second name elsewhere")
    return tuple(notes)


def _roll_back(run: OpenRun, sync: Callable[[], None], cause: UnbrickError) -> None:
    """Back to `repaired` after a failure; where that is impossible, the journal lets the next run finish."""
    if run.journal.state is RunState.UNDO_BEGUN:
        try:
            with disk_errors("taking the files away again"):
                roll_back_undo(run, sync)
            return
        except UnbrickError as error:
            cause = error
    raise FailedError(
        f"the undo was interrupted: {cause.message}",
        reason=Reason.INTERRUPTED,
        hint="no file is lost; run unbrick again, which finishes what was begun",
    ) from cause
