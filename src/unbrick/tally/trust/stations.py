"""Every station as a person sees it: who enrolled it, until when it is valid, and when it reported last."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select

from unbrick.tally.books import schema
from unbrick.tally.books.clock import microseconds, moment_of, present
from unbrick.tally.folder import TallyFolder
from unbrick.tally.records import Carried
from unbrick.tally.trust.register import Enrolment, RegisterError, StationRegister

SOON = timedelta(days=30)


@dataclass(frozen=True)
class Visits:
    """How many runs a station opened, and when their last report arrived."""

    count: int = 0
    last: datetime | None = None


def read_visits(connection: Connection) -> Mapping[str, Visits]:
    runs = schema.runs
    query = select(runs.c.station, func.count(), func.max(runs.c.last_seen)).group_by(runs.c.station)
    return {station: Visits(count, moment_of(last)) for station, count, last in connection.execute(query)}


def read_stored_since(connection: Connection, since: datetime) -> Mapping[str, int]:
    """The bytes of the reports that arrived over sessions since then, by station name."""
    events = schema.events
    size = func.sum(func.length(events.c.data) + func.length(events.c.signature))
    query = select(events.c.station, size).where(
        events.c.received >= microseconds(since), events.c.carried != Carried.BY_HAND
    )
    rows = connection.execute(query.group_by(events.c.station))
    return {station: int(stored) for station, stored in rows}


def end_of(station: Enrolment) -> datetime:
    return datetime.fromisoformat(station.expires)  # the end of its newest certificate


def held_end_of(station: Enrolment) -> datetime:
    """When the certificate ends that a station is known to have: the newest one once it has shown it."""
    return datetime.fromisoformat(station.held or station.expires)


def ends_soon(station: Enrolment, now: datetime) -> bool:
    """Whether a trusted station needs a new certificate within 30 days, or has needed one since."""
    return station.revoked is None and held_end_of(station) - now <= SOON


def certificates_notice(stations: Iterable[Enrolment], now: datetime) -> str | None:
    ended = [one for one in stations if one.revoked is None and held_end_of(one) <= now]
    soon = [one for one in stations if ends_soon(one, now) and one not in ended]
    parts = [
        f"{_named(some)}: {'its certificate' if len(some) == 1 else 'their certificates'} {what}"
        for some, what in ((ended, "ended"), (soon, f"end{'s' if len(soon) == 1 else ''} within 30 days"))
        if some
    ]
    return "; ".join(parts) + "; unbrick tally stations DIR has the dates" if parts else None


class CertificatesNotice:
    """What a viewer of the tally should know about its stations' certificates."""

    def __init__(self, folder: TallyFolder) -> None:
        self._register = StationRegister(folder.stations)

    def read(self) -> str | None:
        try:
            self._register.refresh()
            return certificates_notice(self._register.stations, present())
        except (RegisterError, ValueError):
            return None


def _named(stations: list[Enrolment]) -> str:
    if len(stations) == 1:
        return f"station {stations[0].name}"
    names = ", ".join(one.name for one in stations[:2])
    more = f" and {len(stations) - 2} more" if len(stations) > 2 else ""
    return f"stations {names}{more}"
