"""What a run keeps about itself: each file and folder as it was, and what it has done. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.model import Action, ActionState
from unbrick.model import RunState as RunState
from unbrick.repair.plan import QUARANTINE_FILE


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
