"""Events on their way into the outbox: written down at once, signed by a process beside the work.

Loading what signs takes as long as a small repair, so the repair does not wait for it. A folder in memory
is the queue between the two: an event is a file there until it lies signed in the outbox, whoever dies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unbrick.errors import UnbrickError
from unbrick.event import Event, EventError
from unbrick.report.outbox import Outbox
from unbrick.station.companion import Orders
from unbrick.wire import SignedEvent

if TYPE_CHECKING:
    from unbrick.report.signer import Signer

SPOOL = "spool"
_NAME = re.compile(r"[0-9A-Za-z-]+-[0-9]{6}\.event")
_LOOK_SECONDS = 0.1


class Spool:
    """One folder of unsigned events. As a listener it takes each event as it comes, in whatever process."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @property
    def kept(self) -> tuple[SignedEvent, ...]:
        """See `recovery_isolated.EventKeeper`: nothing stays in the memory of a process."""
        return ()

    def __call__(self, event: Event) -> None:
        """Write one event down; where even memory is full it is lost, and the work goes on."""
        path = self._folder / f"{event.run}-{event.sequence:06}.event"
        with suppress(OSError):
            fresh = path.with_suffix(".new")
            fresh.write_bytes(event.to_bytes())
            fresh.rename(path)

    def count(self) -> int:
        """How many events are not signed yet."""
        return len(self._names())

    def empty_into(self, outbox: Outbox, signer: Signer) -> None:
        """Sign what is there, in order, and put it into the outbox; what cannot be put stays."""
        for name in self._names():
            path = self._folder / name
            try:
                data = path.read_bytes()
                with suppress(EventError):  # no tally would take it
                    outbox.put(SignedEvent(data, signer.sign(data)))
                path.unlink()
            except (OSError, UnbrickError):
                return

    def _names(self) -> list[str]:
        try:
            names = [entry.name for entry in self._folder.iterdir()]
        except OSError:
            return []
        return sorted(name for name in names if _NAME.fullmatch(name))


@dataclass
class SigningLife:
    """What the companion that signs does all its life; `load` gets the key, which takes a while."""

    spool: Spool
    outbox: Path
    load: Callable[[], Signer]

    def __call__(self, orders: Orders) -> None:
        """Live until told to finish, and then once more sign what is left."""
        signer, outbox = self.load(), Outbox(self.outbox)
        while True:
            last = orders.finish
            self.spool.empty_into(outbox, signer)
            if last:
                return
            orders.wait(_LOOK_SECONDS)
