"""The recorder: every step of the story starts and ends as an event, also when it fails.

The screen, the outbox and the log are listeners of this one stream.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from unbrick.errors import UnbrickError
from unbrick.events.event import Event, EventKind, Listener, moment
from unbrick.events.facts import plain_machine, short_facts
from unbrick.model import Machine


def _present() -> datetime:
    return datetime.now(UTC)


class Recorder:
    """Numbers what happens in one run on one disk and tells each listener, in order, in the same thread."""

    def __init__(
        self,
        run: str,
        listeners: Sequence[Listener] = (),
        *,
        site: str | None = None,
        clock: Callable[[], datetime] = _present,
    ) -> None:
        self.run = run
        self._listeners = tuple(listeners)
        self._site = site
        self._clock = clock
        self._machine = Machine()
        self._sequence = 0

    def identify(self, machine: Machine) -> None:
        """Say what is now known of the machine; every later event carries it."""
        self._machine = plain_machine(machine)

    def tell(self, kind: EventKind, step: str | None = None, **details: Any) -> None:
        """Record one event. Details are facts, cut short where need be; None values are left out."""
        self._sequence += 1
        event = Event(
            run=self.run,
            sequence=self._sequence,
            kind=kind.value,
            at=moment(self._clock()),
            step=step,
            machine=self._machine,
            site=self._site,
            details=short_facts(details),
        )
        for listener in self._listeners:
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
