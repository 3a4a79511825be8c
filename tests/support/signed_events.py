"""Events as a station would send them. The signature is a placeholder: who carries does not look at it."""

from __future__ import annotations

from unbrick.events.event import Event
from unbrick.events.wire import SignedEvent

RUN = "20261124T081500Z-0a1b2c"


def unsigned_event(sequence: int, *, run: str = RUN, text: str = "") -> SignedEvent:
    """The event with that number; `text` makes it larger."""
    event = Event(
        run=run,
        sequence=sequence,
        kind="note",
        at="2026-11-24T08:15:00.000000Z",
        details={"text": text} if text else {},
    )
    return SignedEvent(event.to_bytes(), "no signature\n")


def id_of(event: SignedEvent) -> str:
    return event.id
