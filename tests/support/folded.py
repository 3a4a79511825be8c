"""The standing that some events of one machine give, one after the other."""

from __future__ import annotations

from collections.abc import Iterable

from unbrick.events.event import Event
from unbrick.events.standing import Standing, mark_of


def fold(standing: Standing, event: Event) -> Standing:
    mark = mark_of(event)
    return standing if mark is None else standing.after(mark)


def fold_all(events: Iterable[Event]) -> Standing:
    """The standing that some events of one machine give."""
    standing = Standing()
    for event in events:
        standing = fold(standing, event)
    return standing
