"""The stations that were enrolled, and those among them that are no longer trusted."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, or_, select, update

from unbrick.tally.bulk import rows_of
from unbrick.tally.clock import microseconds, moment_of, present
from unbrick.tally.records import StatementError, Station
from unbrick.tally.rows import Row
from unbrick.tally.schema import stations


def add(connection: Connection, station: Station) -> None:
    """Write a station down; raises StatementError where its name, key or serial number is in use."""
    public_key = " ".join(station.public_key.split()[:2])
    taken = or_(
        stations.c.serial == station.serial,
        stations.c.public_key == public_key,
        (stations.c.name == station.name) & stations.c.revoked_at.is_(None),
    )
    if connection.execute(select(stations.c.name).where(taken)).first():
        raise StatementError(
            f"a station {station.name}, or one with its key or number, is enrolled already",
            hint="revoke that one first, or choose another name",
        )
    connection.execute(
        insert(stations),
        {
            "serial": station.serial,
            "name": station.name,
            "public_key": public_key,
            "site": station.site,
            "enrolled_at": microseconds(station.enrolled_at or present()),
            "revoked_at": microseconds(station.revoked_at) if station.revoked_at else None,
        },
    )


def revoke(connection: Connection, name: str, at: datetime | None) -> Station | None:
    """Take the trust from the station of that name; None where no trusted one has it."""
    trusted = (stations.c.name == name, stations.c.revoked_at.is_(None))
    row = next(rows_of(connection, select(stations).where(*trusted)), None)
    if row is None:
        return None
    when = microseconds(at or present())
    connection.execute(update(stations).where(stations.c.serial == row["serial"]).values(revoked_at=when))
    return _station({**row, "revoked_at": when})


def all_stations(connection: Connection) -> tuple[Station, ...]:
    """Every station, by serial number."""
    return tuple(map(_station, rows_of(connection, select(stations).order_by(stations.c.serial))))


def _station(row: Row) -> Station:
    return Station(
        name=row["name"],
        public_key=row["public_key"],
        serial=row["serial"],
        site=row["site"],
        enrolled_at=moment_of(row["enrolled_at"]),
        revoked_at=moment_of(row["revoked_at"]),
    )
