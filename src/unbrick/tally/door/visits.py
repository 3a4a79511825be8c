"""A line of the log for each visit that is counted: what a machine's run ended with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from unbrick.events.event import EventKind
from unbrick.tally.records import ReceivedEvent

_MOST_REMEMBERED = 20_000


class VisitLog:
    """Tells each run's outcome once, also where a station sends it again."""

    def __init__(self, log: Callable[[int, str], None]) -> None:
        self._log = log
        self._told: dict[str, None] = {}

    def stored(self, batch: Sequence[ReceivedEvent], new: int) -> None:
        """A batch is durable; `new` of its events were not known before."""
        for one in batch if new else ():
            event = one.event
            if event.kind != EventKind.OUTCOME or event.run in self._told:
                continue
            self._told[event.run] = None
            if len(self._told) > _MOST_REMEMBERED:
                del self._told[next(iter(self._told))]
            name = next(iter(event.machine.hostnames), event.machine.disk_guid or "a machine without a name")
            ended = " ".join(str(event.details.get(key) or "") for key in ("status", "reason")).strip()
            self._log(
                logging.INFO,
                f"visit counted: {name} {ended} site={event.site or ''} station={one.station}",
            )
