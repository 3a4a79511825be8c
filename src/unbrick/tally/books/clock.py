"""The tally's time, and its form in the database: whole microseconds since 1970, UTC."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

MICROSECONDS_A_MINUTE = 60_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def present() -> datetime:
    return datetime.now(UTC)


def microseconds(time: datetime) -> int:
    """`time` is aware."""
    return (time - _EPOCH) // _MICROSECOND


def moment_of(value: int | None) -> datetime | None:
    return None if value is None else _EPOCH + timedelta(microseconds=value)
