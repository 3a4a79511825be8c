from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.tally_client import StationFiles, event_id, make_event, sign

from unbrick.events.event import canonical_json
from unbrick.events.wire import SignedEvent
from unbrick.signing.certificates import new_key
from unbrick.tally.door.intake import Intake
from unbrick.tally.folder import parse_address
from unbrick.tally.records import Carried
from unbrick.tally.trust.authority import create_authority, enrol, revoke
from unbrick.tally.trust.register import StationRegister

NOW = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    create_authority(tmp_path / "tally", parse_address("127.0.0.1"))
    return tmp_path / "tally"


def _intake(tally: Path) -> Intake:
    return Intake(StationRegister(tally / "stations.json"), lambda: NOW)


def _reasons(tally: Path, *events: SignedEvent) -> list[str]:
    judged = _intake(tally).judge(events)
    assert judged.received == []
    assert [one.id for one in judged.refused] == [event_id(one) for one in events]
    return [one.reason for one in judged.refused]


def test_a_signed_event_is_dated_by_the_tally_and_named_by_its_signer(tally: Path, tmp_path: Path) -> None:
    enrol(tally, "stick-7", "st-marys", tmp_path / "stick")
    mine, theirs = (
        StationFiles(tally).signed(1, 2),
        StationFiles(tmp_path / "stick").signed(1, 1, run="20240719T090000Z-0000cc"),
    )
    judged = _intake(tally).judge([*mine, *theirs])
    assert judged.refused == []
    assert [one.station for one in judged.received] == ["station", "station", "stick-7"]
    assert {one.received for one in judged.received} == {NOW}
    assert judged.ids == [event_id(one) for one in (*mine, *theirs)]


def test_what_can_never_be_stored_is_refused_with_its_reason(tally: Path) -> None:
    station = StationFiles(tally)
    (good,) = station.signed(1, 1)
    changed = replace(good, data=make_event(2).to_bytes())
    broken = good.signature.replace("A", "B", 1)
    assert _reasons(
        tally,
        changed,
        replace(good, signature="no signature"),
        replace(good, signature=broken),
        sign(good.data, station.key, namespace="file"),
        sign(good.data, new_key()),
        sign(b"{}", station.key),
        sign(json.dumps(json.loads(good.data)).encode(), station.key),
    ) == [
        "bad-signature",
        "bad-signature",
        "bad-signature",
        "bad-signature",
        "unknown-station",
        "bad-event",
        "bad-event",
    ]


def test_an_event_of_a_newer_schema_is_kept_as_it_was_signed(tally: Path) -> None:
    station = StationFiles(tally)
    document = json.loads(make_event(1).to_bytes()) | {"schema": 2, "colour": "green"}
    signed = sign(canonical_json(document), station.key)
    judged = _intake(tally).judge([signed])
    assert judged.refused == []
    assert judged.received[0].signed is signed
    assert judged.received[0].event.schema == 2


def test_the_events_of_a_revoked_station_are_refused(tally: Path) -> None:
    signed = StationFiles(tally).signed(1, 1)
    revoke(tally, "station")
    assert _reasons(tally, *signed) == ["revoked-station"]


def test_what_waited_in_an_outbox_is_told_from_what_is_going_on(tally: Path) -> None:
    station, intake = StationFiles(tally), _intake(tally)
    visit = station.signed(1, 5)
    assert [one.carried for one in asyncio.run(intake.judge_gently(visit)).received] == [Carried.NO] * 5
    waited = [one for n in range(20) for one in station.signed(1, 2, run=f"20240719T0900{n:02}Z-0000ab")]
    assert [one.carried for one in asyncio.run(intake.judge_gently(waited)).received] == [Carried.LATE] * 40
