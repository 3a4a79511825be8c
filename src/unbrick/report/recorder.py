"""The recorder: every step of the story starts and ends as an event, also when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from unbrick.errors import UnbrickError
from unbrick.event import Event, EventKind, Listener


class Recorder:
    """Tells each listener of every step of one disk, in order, in the same thread."""

    def __init__(self, disk: str, listeners: Sequence[Listener] = ()) -> None:
        self._disk = disk
        self._listeners = tuple(listeners)

    def _tell(self, kind: EventKind, step: str, **details: str | int) -> None:
        event = Event(kind, self._disk, step, details)
        for listener in self._listeners:
            listener(event)

    @contextmanager
    def step(self, name: str, **details: str | int) -> Iterator[None]:
        """A step of the flow: tells its start, then its end or its failure."""
        self._tell(EventKind.STEP_STARTED, name, **details)
        try:
            yield
        except UnbrickError as error:
            self._tell(EventKind.STEP_FAILED, name, message=error.message, **details)
            raise
        except BaseException as error:
            self._tell(EventKind.STEP_FAILED, name, message=type(error).__name__, **details)
            raise
        self._tell(EventKind.STEP_ENDED, name, **details)

    def note(self, step: str, text: str) -> None:
        """A sentence a person should read, outside the steps' own start and end."""
        self._tell(EventKind.NOTE, step, text=text)
