"""Events as a station would send them, for tests of what the tally makes of them. Nothing is signed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from unbrick.events.event import Event
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.tally.records import ReceivedEvent

START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def run_id(number: int, first: datetime = datetime(2024, 7, 19, tzinfo=UTC)) -> str:
    """The id of the run that began so many seconds after `first`; later ones are greater."""
    time = first + timedelta(seconds=number)
    return f"{time:%Y%m%dT%H%M%S}Z-{number % 0x1000000:06x}"


def received(event: Event, *, minute: float = 0, station: str = "stick-1") -> ReceivedEvent:
    """An event that arrived some minutes after `START`."""
    signed = SignedEvent(event.to_bytes(), "unsigned")
    return ReceivedEvent(signed, event, station, START + timedelta(minutes=minute))


@dataclass
class Told:
    """Makes the events of one run, numbered in order; each arrives at `minute`."""

    run: int
    machine: Machine = field(default_factory=Machine)
    site: str | None = "st-marys"
    minute: float = 0
    station: str = "stick-1"
    sequence: int = 0

    def tell(self, kind: str, *, sequence: int | None = None, **details: Any) -> ReceivedEvent:
        """The next event (or the one with a given number)."""
        self.sequence = self.sequence + 1 if sequence is None else sequence
        event = Event(
            run=run_id(self.run),
            sequence=self.sequence,
            kind=kind,
            at="2009-01-01T00:00:00.000000Z",
            machine=self.machine,
            site=self.site,
            details=details,
        )
        return received(event, minute=self.minute, station=self.station)

    def outcome(self, status: str, reason: str | None = None) -> ReceivedEvent:
        """The next event is the outcome."""
        return self.tell("outcome", status=status, reason=reason)

    def story(self, status: str, reason: str | None = None) -> list[ReceivedEvent]:
        """A whole run, which learns of its machine bit by bit."""
        whole = self.machine
        self.machine = Machine(smbios_uuid=whole.smbios_uuid, serial=whole.serial)
        events = [self.tell("run-started")]
        self.machine = replace(whole, hostnames=())
        events.append(self.tell("locked"))
        self.machine = whole
        events.append(self.outcome(status, reason))
        return events


def disk(number: int) -> str:
    """A disk GUID."""
    return f"D15C0000-0000-4000-8000-{number:012X}"


def uuid(number: int) -> str:
    """A firmware UUID."""
    return f"F1000000-1234-4000-8000-{number:012X}"
