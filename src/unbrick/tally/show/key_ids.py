"""Which BitLocker keys a machine waits for: the ids on its blue screen, taken from its own events."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, select

from unbrick.events.event import Event, EventError, EventKind, parse_event
from unbrick.tally.books.schema import events

_GUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
_MOST_IDS = 16
_FIRST_EVENTS = 64
_RUNS_AT_ONCE = 500


def read_key_ids(connection: Connection, runs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The protector ids of the locked volumes of each run; runs without any are left out."""
    found: dict[str, tuple[str, ...]] = {}
    for at in range(0, len(runs), _RUNS_AT_ONCE):
        query = (
            select(events.c.run, events.c.data)
            .where(events.c.run.in_(runs[at : at + _RUNS_AT_ONCE]), events.c.sequence <= _FIRST_EVENTS)
            .order_by(events.c.run, events.c.sequence)
        )
        for run, data in connection.execute(query):
            if b'"locked"' not in data:
                continue
            ids = dict.fromkeys((*found.get(run, ()), *_ids_of(data)))
            if ids:
                found[run] = tuple(ids)[:_MOST_IDS]
    return found


def _ids_of(data: bytes) -> Iterator[str]:
    try:
        event: Event = parse_event(data)
    except EventError:
        return
    listed = event.details.get("protectors")
    if event.kind == EventKind.LOCKED and isinstance(listed, list):
        yield from (one for one in listed if isinstance(one, str) and _GUID.fullmatch(one))
