"""Which reports say nothing of the pace: those that were carried here or waited for a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from unbrick.tally.records import ReceivedEvent

_RUNS_OF_ONE_VISIT = 2


def as_carried(received: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
    """The same events, said to have been made some time before they came."""
    return [replace(one, carried=True) for one in received]


def with_late_ones(frame: Sequence[ReceivedEvent]) -> list[ReceivedEvent]:
    """The events of one frame: a station sends what it does while it does it, so that one frame with several
    machines is what waited in its outbox.
    """
    runs = {one.event.run for one in frame}
    return as_carried(frame) if len(runs) > _RUNS_OF_ONE_VISIT else list(frame)
