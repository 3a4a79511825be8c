"""The stations of a tally as `unbrick tally stations` lists them, and as an answer shows one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unbrick.cli.options.tally_folder import folder_of, look_at_store

if TYPE_CHECKING:
    from unbrick.tally.trust.register import Enrolment
    from unbrick.tally.trust.stations import Visits


@dataclass(frozen=True)
class Listed:
    """One enrolment; `visits` and `discounted` are None where the database could not be read."""

    station: Enrolment
    visits: Visits | None
    discounted: bool | None

    def to_document(self, now: datetime) -> dict[str, Any]:
        from unbrick.events.event import moment
        from unbrick.tally.trust.stations import ends_soon, held_end_of

        one, visits = self.station, self.visits
        return {
            "name": one.name,
            "site": one.site,
            "everywhere": one.everywhere,
            "serial": one.serial,
            "enrolled": one.enrolled,
            "enrolled_by": one.by,
            "visits": visits.count if visits else None,
            "last_report": moment(visits.last) if visits and visits.last else None,
            "certificate_ends": None if one.accepted else one.expires,
            "fingerprint": one.fingerprint,
            "accepted": one.accepted,
            "accepted_reason": one.accepted_why,
            "discounted": self.discounted,
            "ends_soon": ends_soon(one, now),
            "ended": held_end_of(one) <= now,
            "held_certificate_ends": None if one.accepted else one.held or one.expires,
            "renewal_fetched": one.held is None,
            "days": one.days,
            "revoked": one.revoked,
            "revoked_by": one.revoked_by,
            "revoked_reason": one.revoked_why,
        }


def list_stations(directory: Path) -> list[Listed]:
    """Every enrolment there ever was, in order."""
    from unbrick.tally.trust.register import StationRegister
    from unbrick.tally.trust.stations import Visits

    register = StationRegister(folder_of(directory).stations)
    register.refresh()
    with look_at_store(directory) as store:
        visits, decisions = store.visits(), store.decisions()
    discounted = {name for one in decisions if one.what == "discount" for name in one.called}
    # Visits are kept by name: of several enrolments of one name, the last has them.
    last = {one.name: one for one in sorted(register.stations, key=lambda one: one.serial)}
    return [
        Listed(
            one, visits.get(one.name, Visits()) if last[one.name] is one else Visits(), one.name in discounted
        )
        for one in register.stations
    ]


def station_documents(directory: Path, name: str) -> list[dict[str, Any]]:
    """The enrolments of a name as they stand now.

    Whom to trust is changed also while the database is locked or damaged, and is answered then, too.
    """
    from unbrick.tally.records import StoreError
    from unbrick.tally.trust.register import StationRegister

    try:
        listed = list_stations(directory)
    except StoreError:
        register = StationRegister(folder_of(directory).stations)
        register.refresh()
        listed = [Listed(one, None, None) for one in register.stations]
    now = datetime.now(UTC)
    return [one.to_document(now) for one in listed if one.station.name == name]
