"""Whether an entry of a journal may be obeyed: its file is one that its playbook would have moved, unchanged.

A journal lies on the disk and is hostile. Reads files, writes nothing; every failure is NeedsHandsError.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from unbrick.errors import NeedsHandsError, Reason, UnbrickError
from unbrick.files import windows_path_of
from unbrick.incidents.deny import why_forbidden
from unbrick.incidents.judge import judge, paths_match
from unbrick.incidents.playbook import Playbook
from unbrick.model import Verdict
from unbrick.repair.journal.fields import JournalError
from unbrick.repair.journal.record import Entry
from unbrick.repair.moving import Places
from unbrick.windows.observe import observe_file


@dataclass(frozen=True)
class Authority:
    """What may be moved at all: the playbooks at hand, and the Windows folders that the volume really has."""

    playbooks: tuple[Playbook, ...]
    installation_folders: tuple[str, ...]

    @classmethod
    def of(cls, playbooks: Sequence[Playbook], installation_folders: Sequence[str]) -> Authority:
        """From any sequences."""
        return cls(tuple(playbooks), tuple(installation_folders))


def find_playbook(playbooks: Sequence[Playbook], entry: Entry) -> Playbook:
    """The playbook that an entry names; raises NeedsHandsError (unknown-playbook)."""
    by_id: Mapping[str, Playbook] = {playbook.id: playbook for playbook in playbooks}
    if entry.playbook not in by_id:
        raise NeedsHandsError(
            f"an earlier run followed the playbook {entry.playbook}, which this unbrick does not have",
            reason=Reason.UNKNOWN_PLAYBOOK,
            hint=(
                f"give the file of {entry.playbook}, as it was at the repair, with --playbook FILE, or with "
                "--station FILE where the site's settings have it; one that comes with unbrick is in the "
                "version that made the repair, and in newer ones"
            ),
        )
    return by_id[entry.playbook]


def check_run(root: Path, places: Sequence[Places], authority: Authority) -> None:
    """Every entry of a run, its file read where it lies in the quarantine; nothing is written."""
    for place in places:
        playbook = find_playbook(authority.playbooks, place.entry)
        _check_file(root, place, playbook, _folders_that_match(playbook, place.entry, authority))


def _folders_that_match(playbook: Playbook, entry: Entry, authority: Authority) -> tuple[str, ...]:
    forbidden = why_forbidden(entry.source)
    if forbidden is not None:
        raise JournalError(f"{entry.source} is never moved: {forbidden}")
    folders = tuple(f for f in authority.installation_folders if paths_match(playbook, f, entry.source))
    if not folders:
        raise _another_edition(f"{entry.source} is nothing that {playbook.id} moves", playbook)
    return folders


def _check_file(root: Path, place: Places, playbook: Playbook, folders: Sequence[str]) -> None:
    entry, path = place.entry, place.quarantined
    try:
        observed = replace(observe_file(root, windows_path_of(root, path)), path=entry.source)
    except UnbrickError as error:
        raise JournalError(f"the file it names for {entry.source} cannot be read: {error.message}") from error
    if (observed.sha256, observed.size) != (entry.sha256, entry.size):
        raise JournalError(f"{path.name} is not the file that was at {entry.source}")
    if not any(judge(playbook, observed, folder) is Verdict.FAULTY for folder in folders):
        raise _another_edition(f"{path.name} is no file that {playbook.id} would have moved", playbook)


def _another_edition(why: str, playbook: Playbook) -> JournalError:
    """A planted journal, or an honest one whose playbook was changed since: a person can tell, we cannot."""
    return JournalError(
        why,
        hint=(
            f"nothing that it asks for was done; if {playbook.id} was changed since that repair, give "
            r"its file as it was then with --playbook FILE; else look at the folder \Unbrick by hand"
        ),
    )
