"""What the journal of a run says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from unbrick.model import RunState
from unbrick.repair.actions.kind import ActionKind


@dataclass(frozen=True)
class Journal:
    """What a run has done, with all that taking it back needs, and what has become of it.

    `program` is the version of unbrick that wrote it; `begun`, and `when` it reached its state, are UTC times
    in ISO 8601, by the clock of that machine then; `volume_was_dirty` is how Windows had left the volume
    before the first write.
    """

    run: str
    program: str
    begun: str
    volume_was_dirty: bool
    entries: tuple[ActionKind, ...]
    state: RunState
    when: str
