"""What the screens show, as it was at one moment, and how it is read from the store."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from unbrick.events.event import EventKind
from unbrick.events.standing import MachineStatus
from unbrick.tally.records import FINISHED, MachineRow, RecentEvent, Statement, StoreError, Summary

SETTLED: tuple[str, ...] = tuple(
    word for word in Statement if word in FINISHED and word is not Statement.CONFIRMED
)
ON_THE_WAY: tuple[str, ...] = (
    MachineStatus.FOUND,
    MachineStatus.UNLOCKED,
    MachineStatus.LOCKED,
    MachineStatus.SEEN,
    MachineStatus.UNDONE,
)
ORDER: tuple[str, ...] = (  # as an IT lead reads them: what is done, what moves, what is stuck
    MachineStatus.CONFIRMED,
    MachineStatus.REPAIRED,
    MachineStatus.HEALTHY,
    *SETTLED,
    *ON_THE_WAY,
    MachineStatus.NEEDS_KEY,
    MachineStatus.NEEDS_HANDS,
    MachineStatus.FAILED,
    Statement.FIRMWARE_LOCKED,
)
NEEDS_A_PERSON: tuple[str, ...] = (MachineStatus.NEEDS_HANDS, MachineStatus.FAILED, Statement.FIRMWARE_LOCKED)
STUCK: tuple[str, ...] = (MachineStatus.NEEDS_KEY, *NEEDS_A_PERSON)


class Readable(Protocol):
    """What the screens read of a `Store`."""

    def summary(self, now: datetime | None = None) -> Summary: ...
    def machines(self, *, status: str | None = None, limit: int | None = 100) -> tuple[MachineRow, ...]: ...
    def recent(self, limit: int = 20) -> tuple[RecentEvent, ...]: ...
    def key_ids(self, runs: Sequence[str]) -> Mapping[str, tuple[str, ...]]: ...


@dataclass(frozen=True)
class SiteCount:
    """How far a site is."""

    site: str
    total: int
    done: int
    stuck: int


@dataclass(frozen=True)
class Board:
    """Everything at one moment. The lists may be cut; the numbers are of all machines.

    `trouble` needs a person now, `notice` within days.
    `key_ids` has the protectors' ids of the machines in `needs_key`, by run.
    """

    now: datetime
    summary: Summary = field(default_factory=Summary)
    needs_key: tuple[MachineRow, ...] = ()
    needs_person: tuple[MachineRow, ...] = ()
    key_ids: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    events: tuple[RecentEvent, ...] = ()
    trouble: str | None = None
    notice: str | None = None

    def count(self, *statuses: str) -> int:
        return sum(self.summary.by_status.get(status, 0) for status in statuses)

    @property
    def stuck(self) -> int:
        return self.count(*STUCK)

    def statuses(self) -> tuple[str, ...]:
        """The statuses that any machine has, in reading order; unknown words of a newer version too."""
        known = set(ORDER) | {MachineStatus.EXPECTED}
        strange = sorted(status for status in self.summary.by_status if status not in known)
        ordered = (*ORDER, *strange, MachineStatus.EXPECTED)
        return tuple(str(status) for status in ordered if self.count(status))

    def reasons(self, status: str) -> tuple[tuple[str, int], ...]:
        counted = self.summary.reasons.get(status, {})  # the most frequent first
        return tuple(sorted(counted.items(), key=lambda pair: (-pair[1], pair[0])))

    def sites(self) -> tuple[SiteCount, ...]:
        counts = [
            SiteCount(
                site,
                sum(counted.values()),
                sum(number for status, number in counted.items() if status in FINISHED),
                sum(number for status, number in counted.items() if status in STUCK),
            )
            for site, counted in self.summary.sites.items()
        ]
        return tuple(sorted(counts, key=lambda one: (one.done - one.total, one.site)))  # most to do first


def read_board(store: Readable, now: datetime, *, rows: int = 100) -> Board:
    """Read one screen's content, at most `rows` of each list."""
    summary = store.summary(now)
    needs_key = tuple(_waiting(store, summary, (MachineStatus.NEEDS_KEY,), rows))
    return Board(
        now,
        summary,
        needs_key=needs_key,
        needs_person=tuple(_waiting(store, summary, NEEDS_A_PERSON, rows))[:rows],
        key_ids=store.key_ids([one.run for one in needs_key if one.run]),
        events=tuple(_telling(store.recent(4 * rows)))[:rows],
    )


def _telling(events: Iterable[RecentEvent]) -> Iterator[RecentEvent]:
    """Without single steps, except each run's newest event: many steps are one piece of news."""
    runs: set[str] = set()
    steps = {EventKind.STEP_STARTED, EventKind.STEP_ENDED, EventKind.RUN_STARTED}
    for event in events:
        if event.run not in runs or event.kind not in steps:
            yield event
        runs.add(event.run)


def _waiting(store: Readable, summary: Summary, statuses: tuple[str, ...], rows: int) -> Iterator[MachineRow]:
    for status in statuses:
        if summary.by_status.get(status):
            yield from store.machines(status=str(status), limit=rows)


class Reader:
    """Reads a board again and again; where the store cannot be read, gives the last one and says why."""

    def __init__(self, store: Readable) -> None:
        self._store = store
        self._last: Board | None = None

    def read(self, now: datetime) -> Board:
        try:
            self._last = read_board(self._store, now)
        except StoreError as error:
            before = self._last or Board(now)
            return replace(before, now=now, trouble=f"not up to date: {error.message}")
        return self._last
