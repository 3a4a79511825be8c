"""How a machine stands, folded from its events.

By run and sequence number, never by arrival: any interleaving, repetition and late arrival of the
same events gives the same standing, because each of its parts is a maximum.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum

from unbrick.events.event import Event, EventKind


class MachineStatus(StrEnum):
    """Where a machine stands; the first seven are the way back, the others side rooms."""

    EXPECTED = "expected"
    SEEN = "seen"
    LOCKED = "locked"
    UNLOCKED = "unlocked"
    FOUND = "found"
    REPAIRED = "repaired"
    CONFIRMED = "confirmed"
    NEEDS_KEY = "needs-key"
    NEEDS_HANDS = "needs-hands"
    FAILED = "failed"
    HEALTHY = "healthy"
    UNDONE = "undone"


_BY_KIND: dict[str, MachineStatus] = {
    EventKind.RUN_STARTED: MachineStatus.SEEN,
    EventKind.LOCKED: MachineStatus.LOCKED,
    EventKind.UNLOCKED: MachineStatus.UNLOCKED,
    EventKind.FOUND: MachineStatus.FOUND,
}
_BY_OUTCOME = {
    "repaired": MachineStatus.REPAIRED,
    "undone": MachineStatus.UNDONE,
    "healthy": MachineStatus.HEALTHY,
    "found": MachineStatus.FOUND,
    "needs-key": MachineStatus.NEEDS_KEY,
    "needs-hands": MachineStatus.NEEDS_HANDS,
    "failed": MachineStatus.FAILED,
    "scanned": MachineStatus.SEEN,
}
_REASON = re.compile(r"[a-z0-9][a-z0-9:_-]{0,63}")
_PROOFS = {MachineStatus.REPAIRED, MachineStatus.UNDONE}
_LOOKS = {MachineStatus.FOUND, MachineStatus.HEALTHY}
_NOT_THAT_DISK = {"no-windows", "empty-disk"}
_CLEAN = {MachineStatus.REPAIRED, MachineStatus.HEALTHY}


@dataclass(frozen=True)
class Mark:
    """A status and its place in the order of runs and events; later ones are greater.

    `station`, `received` (microseconds) and `number` are the tally's: who signed the event, when it arrived
    (0 where it was made some time before), and as which one of all that arrived; `place` is that of its run
    among all runs, which goes before its id.
    """

    run: str
    sequence: int
    status: MachineStatus
    reason: str = ""
    station: str = ""
    received: int = 0
    number: int = 0
    place: tuple[int, int] = (0, 0)

    @property
    def looked_inside(self) -> bool:
        """Whether only a look at the disk's content can give this status."""
        if self.status is MachineStatus.NEEDS_HANDS:
            return self.reason not in _NOT_THAT_DISK
        return self.status in _PROOFS | _LOOKS

    @property
    def found_trouble(self) -> bool:
        return self.looked_inside and self.status not in _CLEAN

    @property
    def visit(self) -> tuple[tuple[int, int], str, str]:
        """Where its run stands among the runs of all stations."""
        return (self.place, self.run, self.station)

    def _order(self) -> tuple[object, ...]:
        # That a medium saw the machine is less than anything that is known of it: a later visit that only
        # looks at the disk, or dies early, must not hide what an earlier one reported.
        return (self.status is not MachineStatus.SEEN, self.visit, self.sequence, self.status, self.reason)

    def __lt__(self, other: Mark) -> bool:
        return self._order() < other._order()


@dataclass(frozen=True)
class Standing:
    """What is known of one machine.

    `proof` is the latest repair or undo that ended well, `look` the latest finding or clean bill, `state`
    the latest of everything else. A repair stays proved when a later run could not look inside; it ends
    with a later finding or an undo. What is known of a Windows outlasts a run that found none: that was
    another disk of the machine.
    """

    proof: Mark | None = None
    look: Mark | None = None
    state: Mark | None = None

    @property
    def mark(self) -> Mark | None:
        """The one that counts; None where no event had a status."""
        if self.proof is not None and not self._overtaken(self.proof):
            return self.proof
        if self.look is not None and self.state is not None and self.state.reason in _NOT_THAT_DISK:
            return self.look
        return max((mark for mark in (self.look, self.state) if mark is not None), default=None)

    def after(self, mark: Mark) -> Standing:
        """The standing with one more mark, in whatever order they come and however often."""
        if mark.status in _PROOFS:
            return replace(self, proof=_later(self.proof, mark))
        if mark.status in _LOOKS:
            return replace(self, look=_later(self.look, mark))
        return replace(self, state=_later(self.state, mark))

    @property
    def marks(self) -> tuple[Mark, ...]:
        return tuple(mark for mark in (self.proof, self.look, self.state) if mark is not None)

    def _overtaken(self, proof: Mark) -> bool:
        if self.look is None or self.look.visit <= proof.visit:
            return False
        return proof.status is MachineStatus.UNDONE or self.look.status is MachineStatus.FOUND


def mark_of(event: Event) -> Mark | None:
    """The status that an event gives its machine; None where it changes none, and for unknown kinds."""
    if event.kind == EventKind.OUTCOME:
        status = _BY_OUTCOME.get(str(event.details.get("status")))
        reason = event.details.get("reason")
    else:
        status, reason = _BY_KIND.get(event.kind), None
    if status is None:
        return None
    known = isinstance(reason, str) and _REASON.fullmatch(reason) is not None
    return Mark(event.run, event.sequence, status, str(reason) if known else "")


def _later(one: Mark | None, other: Mark) -> Mark:
    return other if one is None else max(one, other)
