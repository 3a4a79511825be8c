"""What happens to a machine, as a stream of events; the screen, the outbox and the log are its readers.

Holds no secret, no user name and no profile path, by construction: an event's details are short facts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class EventKind(StrEnum):
    """The kinds of event."""

    STEP_STARTED = "step-started"
    STEP_ENDED = "step-ended"
    STEP_FAILED = "step-failed"
    NOTE = "note"


@dataclass(frozen=True)
class Event:
    """One thing that happened to one disk. `step` is a word of the flow; `details` are plain facts."""

    kind: EventKind
    disk: str
    step: str
    details: Mapping[str, str | int] = field(default_factory=dict)


Listener = Callable[[Event], None]
