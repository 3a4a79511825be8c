"""The recorder: every step of the story starts and ends as an event, also when it fails.

The screen, the outbox and the log are listeners of this one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from unbrick.errors import UnbrickError
from unbrick.events.event import MOST_EVENTS_IN_A_RUN, Event, EventKind, Listener, moment
from unbrick.events.facts import plain_machine, short_facts
from unbrick.model import DiskReport, Machine


@dataclass
class Recorder:
    """Numbers what happens in one run on one disk and tells each listener, in order, in the same thread.

    `last` is the number of the run's last event so far.
    """

    run: str
    listeners: Sequence[Listener] = ()
    site: str | None = None
    last: int = 0
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _machine: Machine = field(default_factory=Machine)

    def identify(self, machine: Machine) -> None:
        """Say what is now known of the machine; every later event carries it."""
        self._machine = plain_machine(machine)

    def tell(self, kind: EventKind, step: str | None = None, **details: Any) -> None:
        """Record one event. Details are cut short where need be; None values are left out."""
        self.last += 1
        event = Event(
            run=self.run,
            sequence=self.last,
            kind=kind.value,
            at=moment(self.clock()),
            step=step,
            machine=self._machine,
            site=self.site,
            details=short_facts(details),
        )
        for listener in self.listeners:
            listener(event)

    @contextmanager
    def step(self, name: str, **details: Any) -> Iterator[None]:
        """A step of the flow: tells its start, then its end or its failure."""
        self.tell(EventKind.STEP_STARTED, name, **details)
        try:
            yield
        except UnbrickError as error:
            self.tell(EventKind.STEP_FAILED, name, reason=error.reason, **details)
            raise
        except BaseException as error:
            self.tell(EventKind.STEP_FAILED, name, error=type(error).__name__, **details)
            raise
        self.tell(EventKind.STEP_ENDED, name, **details)


def tell_last_word(run: str, report: DiskReport, listener: Listener, site: str | None) -> None:
    """Tell what became of a run whose process died, after everything that it can have told itself."""
    recorder = Recorder(run, (listener,), site=site, last=MOST_EVENTS_IN_A_RUN - 1)
    recorder.identify(report.machine)
    recorder.tell(EventKind.OUTCOME, status=report.status.value, reason=report.reason)
