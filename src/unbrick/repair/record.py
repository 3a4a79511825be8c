"""What a run keeps about itself: each file and folder as it was, and how far the run has come. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from unbrick.model import Action, ActionState
from unbrick.repair.plan import QUARANTINE_FILE


class RunState(StrEnum):
    """How far a run has come; each but the first is a line of its journal."""

    PREPARED = "prepared"  # the header is durable, no file was moved
    LINKED = "linked"  # every file has its name in the quarantine too
    REPAIRED = "repaired"  # and none has its former name any more
    ROLLED_BACK = "rolled-back"  # every file has its former name only
    UNDO_BEGUN = "undo-begun"
    UNDO_LINKED = "undo-linked"  # every file has its former names again, beside the one in the quarantine
    UNDONE = "undone"


MAY_FOLLOW: Mapping[RunState, frozenset[RunState]] = {
    RunState.PREPARED: frozenset({RunState.LINKED, RunState.ROLLED_BACK}),
    RunState.LINKED: frozenset({RunState.REPAIRED, RunState.ROLLED_BACK}),
    RunState.REPAIRED: frozenset({RunState.UNDO_BEGUN}),
    RunState.ROLLED_BACK: frozenset(),
    RunState.UNDO_BEGUN: frozenset({RunState.UNDO_LINKED, RunState.REPAIRED}),
    RunState.UNDO_LINKED: frozenset({RunState.UNDONE}),
    RunState.UNDONE: frozenset(),
}
"""Which states a run may reach from each."""

UNFINISHED = frozenset({RunState.PREPARED, RunState.LINKED, RunState.UNDO_BEGUN, RunState.UNDO_LINKED})
"""The states in which only an interrupted run is found."""


@dataclass(frozen=True)
class Times:
    """Created, modified, accessed: 100 ns ticks since 1601-01-01 UTC."""

    created: int
    modified: int
    accessed: int


@dataclass(frozen=True)
class Entry:
    """One file as it was before it was moved. `links` counts every name it had, an 8.3 name included.

    `source` is a Windows path from the volume's root in the spelling of the disk, `quarantined_as` a name
    in the run's folder, `acl_sha256` the digest of its security descriptor.
    """

    source: str
    quarantined_as: str
    playbook: str
    sha256: str
    size: int
    attributes: int
    times: Times
    short_name: str | None
    links: int
    acl_sha256: str
    streams: tuple[str, ...]

    @property
    def parent(self) -> str:
        """The Windows path of the folder it came from."""
        return self.source.rpartition("\\")[0] or "\\"

    @property
    def name(self) -> str:
        """Its former long name."""
        return self.source.rpartition("\\")[2]

    @property
    def links_in_quarantine(self) -> int:
        """How many names it has once moved: a new one more, the long one and a separate 8.3 one gone."""
        separate = self.short_name is not None and self.short_name.casefold() != self.name.casefold()
        return self.links - (1 if separate else 0)

    def to_action(self, state: ActionState) -> Action:
        """The action that this file is the object of."""
        return Action(
            QUARANTINE_FILE, self.source, self.playbook, self.sha256, self.size, self.quarantined_as, state
        )


@dataclass(frozen=True)
class Folder:
    """The times that a folder had before a file was taken out of it."""

    path: str
    times: Times


@dataclass(frozen=True)
class Header:
    """The first line of a journal: the whole plan, with all that undoing it needs.

    `program` is the version of unbrick that wrote it, `begun` a UTC time in ISO 8601, `volume_was_dirty`
    how Windows had left the volume before the first write.
    """

    run: str
    program: str
    begun: str
    volume_was_dirty: bool
    entries: tuple[Entry, ...]
    folders: tuple[Folder, ...]
