"""What one station may do in a day: store bytes, new words and new names of computers; and ask.

A day is the tally's, in UTC. What a station stored today is kept in a small file, so that a restart gives it
no second day; when the tally starts, its bytes are counted from the reports, whatever the file says.
Beyond its budget a station is asked to try later, and keeps its reports.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from unbrick.errors import Reason
from unbrick.events.event import Event, EventKind
from unbrick.files import opened_for_owner
from unbrick.settings.strict import parse_json
from unbrick.tally.count.newcomers import NEW_MACHINES_A_DAY
from unbrick.tally.records import ReceivedEvent
from unbrick.text import counted

_WORDS = frozenset(Reason)
_MOST_BYTES = 16 * 1024 * 1024
_MOST_UNSAVED_WORDS = 20
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError)


@dataclass(frozen=True)
class DayLimits:
    """The limits of one station; `words` are sites and reasons that are neither enrolled nor known.

    Of machines that were unknown before only so many `machines` count; more wait for a person's decision.
    """

    bytes: int = 512 * 1024 * 1024
    words: int = 500
    names: int = 20_000
    asks: int = 20_000
    machines: int = NEW_MACHINES_A_DAY


@dataclass
class Spent:
    """What one station stored and asked today; the two sets are of this process only."""

    bytes: int = 0
    words: int = 0
    names: int = 0
    asks: int = 0
    seen_words: set[str] = field(default_factory=set)
    seen_names: set[str] = field(default_factory=set)


class DayBudgets:
    """Call `refusal` before events are stored, `spend` once they are, `save` now and then.

    `sites` need no budget; `alarm` is called once a day for a station that reaches a limit.
    """

    def __init__(
        self,
        path: Path,
        limits: DayLimits,
        clock: Callable[[], datetime],
        sites: Callable[[], Collection[str]],
        alarm: Callable[[str, str], None] = lambda *_: None,
    ) -> None:
        self._path = path
        self._limits = limits
        self._clock = clock
        self._sites = sites
        self._alarm = alarm
        self._day = ""
        self._spent: dict[str, Spent] = {}
        self._stopped: dict[str, str] = {}
        self._changed = False
        self._unsaved_words = 0
        self._read()

    @property
    def day_began(self) -> datetime:
        self._begin_day()
        return datetime.fromisoformat(self._day).replace(tzinfo=UTC)

    def recount(self, stored: Mapping[str, int]) -> str | None:
        """Take the bytes that each has stored since `day_began`; gives a sentence where the file had less."""
        self._begin_day()
        behind = [name for name, count in stored.items() if count > self._of(name).bytes]
        for name in behind:
            self._of(name).bytes = stored[name]
        self._changed |= self._damaged or bool(behind)
        if not self._damaged and not behind:
            return None
        what = "is damaged" if self._damaged else "is missing or behind"
        named = f": {', '.join(sorted(behind)[:3])}" if behind else ""
        stations = counted(len(behind), "station")
        return (
            f"{self._path.name} {what}; what {stations} stored today was counted from the reports"
            f"{named}; words and names that the file does not have count from nothing"
        )

    def _of(self, station: str) -> Spent:
        return self._spent.setdefault(station, Spent())

    @property
    def stopped(self) -> dict[str, str]:
        self._begin_day()
        return self._stopped

    def refusal(self, events: Sequence[ReceivedEvent]) -> str | None:
        """Why these may not be stored today; None where they may."""
        self._begin_day()
        for station, spent, more in self._sums(events):
            limits = self._limits
            for what, used, most in (
                (f"{limits.bytes // 1024**2:,} MiB", spent.bytes + more.bytes, limits.bytes),
                (f"{limits.words:,} new sites and reasons", spent.words + more.words, limits.words),
                (f"{limits.names:,} new computer names", spent.names + more.names, limits.names),
            ):
                if used > most:
                    if station not in self._stopped:
                        self._stopped[station] = what
                        self._alarm(station, what)
                    return f"the station {station} has reported its {what} of today: what is more must wait"
        return None

    def spend(self, events: Sequence[ReceivedEvent]) -> None:
        self._begin_day()
        for _, spent, more in self._sums(events):
            spent.bytes += more.bytes
            spent.words += more.words
            spent.names += more.names
            spent.seen_words |= more.seen_words
            spent.seen_names |= more.seen_names
            self._changed = True
            self._unsaved_words += more.words + more.names
        # A kill must give no second day of what no report tells again.
        if self._unsaved_words >= _MOST_UNSAVED_WORDS:
            self.save()

    def spend_ask(self, station: str) -> str | None:
        """Count an ask; gives why it may not be answered today, or None."""
        self._begin_day()
        spent, most = self._of(station), self._limits.asks
        spent.asks += 1
        self._changed = True
        if spent.asks == most + 1:
            self._alarm(station, f"{most:,} asks")
        return f"the station {station} has asked its {most:,} times of today" if spent.asks > most else None

    def save(self) -> None:
        """Write what is spent; in place, so that it works on a full disk too."""
        if not self._changed:
            return
        stations = {
            name: {key: value for key, value in asdict(one).items() if not key.startswith("seen")}
            for name, one in self._spent.items()
        }
        data = json.dumps({"day": self._day, "stations": stations}).encode()
        with suppress(OSError), opened_for_owner(self._path, os.O_WRONLY) as descriptor:
            os.pwrite(descriptor, data + b" " * 256, 0)
            os.ftruncate(descriptor, len(data))
            self._changed = False
            self._unsaved_words = 0

    def _sums(self, events: Sequence[ReceivedEvent]) -> Iterator[tuple[str, Spent, Spent]]:
        added: dict[str, Spent] = {}
        sites = self._sites()
        for one in events:
            spent, more = self._of(one.station), added.setdefault(one.station, Spent())
            more.bytes += len(one.signed.data) + len(one.signed.signature)
            more.seen_words.update(_words_of(one.event, sites) - spent.seen_words)
            more.seen_names.update(set(one.event.machine.hostnames) - spent.seen_names)
        for station, more in added.items():
            more.words, more.names = len(more.seen_words), len(more.seen_names)
            yield station, self._spent[station], more

    def _begin_day(self) -> None:
        now = self._clock()
        day = f"{now:%Y-%m-%d}"
        # A clock that is set back a little gives no second day; one that was far ahead stops nobody for long.
        if day > self._day or self._day > f"{now + timedelta(days=7):%Y-%m-%d}":
            self._day = day
            self._spent.clear()
            self._stopped.clear()
            self._changed = True

    def _read(self) -> None:
        self._damaged = True  # then nothing counts as spent, until `recount`
        try:
            with self._path.open("rb") as stream:
                document = parse_json(stream.read(_MOST_BYTES))
            found = {
                str(name): Spent(
                    int(one["bytes"]), int(one["words"]), int(one["names"]), int(one.get("asks", 0))
                )
                for name, one in document["stations"].items()
            }
            day = f"{datetime.fromisoformat(document['day']):%Y-%m-%d}"
        except FileNotFoundError:
            self._damaged = False
        except _DAMAGED:
            return
        else:
            if all(min(one.bytes, one.words, one.names, one.asks) >= 0 for one in found.values()):
                self._day, self._spent, self._damaged = day, found, False


def _words_of(event: Event, sites: Collection[str]) -> set[str]:
    found = set()
    if event.site is not None and event.site not in sites:
        found.add(f"site {event.site}")
    reason = event.details.get("reason")
    if event.kind == EventKind.OUTCOME and isinstance(reason, str) and reason not in _WORDS:
        found.add(f"reason {reason[:100]}")
    return found
