"""A log: one line for each event and for each sentence that a person can read.

Neither holds a secret: events by construction, and sentences come from errors, which have none. A boot's log
is kept in memory; `station/stick/keeper.py` copies it to the stick.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.events.event import Event
from unbrick.text import printable

_MOST_BYTES = 1024 * 1024
_LONGEST = 2000


def seconds_since_boot() -> str:
    """The seconds since the kernel started: a station's clock may be wrong."""
    return f"{time.monotonic():9.2f}"


@dataclass(frozen=True)
class EventLog:
    """Appends to one file; also in forks of the process that made it. Fails in silence.

    `stamp` gives what a line begins with: the time.
    """

    path: Path
    stamp: Callable[[], str] = seconds_since_boot
    most_bytes: int = _MOST_BYTES

    def __post_init__(self) -> None:
        with suppress(OSError):
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)

    def __call__(self, event: Event) -> None:
        words = [event.kind, *([event.step] if event.step else [])]
        details = json.dumps(dict(event.details), sort_keys=True) if event.details else ""
        self.say(f"{event.run} {event.sequence} {' '.join(words)} {details}".rstrip())

    def say(self, sentence: str) -> None:
        line = f"{self.stamp()} {printable(sentence)[:_LONGEST]}\n"
        with suppress(OSError), self.path.open("a", encoding="utf-8") as stream:
            if stream.tell() < self.most_bytes:
                stream.write(line)
