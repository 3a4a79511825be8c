"""Whose word an action follows: the playbooks at hand, and the Windows folders that a volume really has.

A journal lies on the disk and is hostile: each kind of action judges by these whether to obey an entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unbrick.errors import NeedsHandsError, Reason
from unbrick.incidents.playbook import Playbook
from unbrick.repair.journal_fields import JournalError


@dataclass(frozen=True)
class Authority:
    """What may be moved at all: the playbooks at hand, and the Windows folders that the volume really has."""

    playbooks: tuple[Playbook, ...]
    installation_folders: tuple[str, ...]

    @classmethod
    def of(cls, playbooks: Sequence[Playbook], installation_folders: Sequence[str]) -> Authority:
        """From any sequences."""
        return cls(tuple(playbooks), tuple(installation_folders))


def find_playbook(playbooks: Sequence[Playbook], wanted: str) -> Playbook:
    """The playbook with this id; raises NeedsHandsError (unknown-playbook)."""
    for playbook in playbooks:
        if playbook.id == wanted:
            return playbook
    raise NeedsHandsError(
        f"an earlier run followed the playbook {wanted}, which this unbrick does not have",
        reason=Reason.UNKNOWN_PLAYBOOK,
        hint=(
            f"give the file of {wanted}, as it was at the repair, with --playbook FILE, or with "
            "--station FILE where the site's settings have it; one that comes with unbrick is in the "
            "version that made the repair, and in newer ones"
        ),
    )


def another_edition(why: str, playbook: Playbook) -> JournalError:
    """A planted journal, or an honest one whose playbook was changed since: a person can tell, we cannot."""
    return JournalError(
        why,
        hint=(
            f"nothing that it asks for was done; if {playbook.id} was changed since that repair, give "
            r"its file as it was then with --playbook FILE; else look at the folder \Unbrick by hand"
        ),
    )
