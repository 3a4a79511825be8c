"""Listens to a recorder and keeps each event, signed, in the outbox. Never stops what it listens to."""

from __future__ import annotations

from collections.abc import Callable

from unbrick.events.event import Event, EventError
from unbrick.events.wire import SignedEvent
from unbrick.report.outbox import Outbox, OutboxError
from unbrick.signing.event_signer import Signer

_MOST_KEPT = 2000


class OutboxListener:
    """Event → signed → outbox. What the outbox cannot take stays in memory, in `kept`, and is tried again.

    `tell` is given one sentence, the first time the outbox fails; `nudge` is called for each event kept.
    """

    def __init__(
        self,
        outbox: Outbox | None,
        signer: Signer,
        tell: Callable[[str], None],
        nudge: Callable[[], None] | None = None,
    ) -> None:
        """Keep events in an outbox; None where there is none to be had, so that all stay in memory."""
        self._outbox = outbox
        self._signer = signer
        self._tell = tell
        self._nudge = nudge
        self._kept: list[SignedEvent] = []
        self._failed = False

    @property
    def kept(self) -> tuple[SignedEvent, ...]:
        """The events that no outbox holds, in order."""
        return tuple(self._kept)

    def __call__(self, event: Event) -> None:
        """Keep one event; raises nothing of ours."""
        data = event.to_bytes()
        self._kept.append(SignedEvent(data, self._signer.sign(data)))
        if self._outbox is None:
            del self._kept[:-_MOST_KEPT]
            return
        try:
            while self._kept:
                self._put(self._outbox, self._kept[0])
                del self._kept[0]
            if self._nudge is not None:
                self._nudge()
        except OutboxError as error:
            del self._kept[:-_MOST_KEPT]
            self._tell_once(f"reports cannot be kept in the outbox: {error.message}; the work goes on")

    def _put(self, outbox: Outbox, signed: SignedEvent) -> None:
        try:
            outbox.put(signed)
        except EventError as error:  # no tally would take it either
            self._tell_once(f"something that happened cannot be reported: {error.message}; the work goes on")

    def _tell_once(self, sentence: str) -> None:
        if not self._failed:
            self._failed = True
            self._tell(sentence)
