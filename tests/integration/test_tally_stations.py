"""Who may report, and how that is seen, ended and taken back: `tally stations`, `revoke`, `unrevoke`."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.program import at_terminal, run_program
from support.tally_client import StationFiles, audit_lines, make_event, sign
from support.tally_server import served_by_program

from unbrick.events.event import moment
from unbrick.events.wire import SignedEvent
from unbrick.tally.door.condition import write_condition
from unbrick.tally.trust.register import StationRegister, write_register


@pytest.fixture
def tally(tmp_path: Path) -> Path:
    folder = tmp_path / "tally"
    assert run_program("tally", "init", folder).code == 0
    enrolled = run_program(
        "tally", "enrol", folder, "stick-7", "--site", "north", "--out", tmp_path / "stick-7"
    )
    assert enrolled.code == 0, enrolled.said
    return folder


def _signed(stick: Path, number: int, at: datetime) -> SignedEvent:
    run = f"20240719T090000Z-0000{number:02x}"
    return sign(make_event(1, run=run, at=moment(at)).to_bytes(), StationFiles(stick).key)


def _import(tally: Path, *signed: SignedEvent) -> str:
    file = tally.parent / "reports.jsonl"
    file.write_text("".join(json.dumps(one.to_document()) + "\n" for one in signed))
    return run_program("tally", "import", tally, file).said


def _listed(tally: Path) -> dict[str, dict[str, object]]:
    ended = run_program("tally", "stations", tally, "--json")
    assert ended.code == 0, ended.said
    return {one["name"]: one for one in json.loads(ended.out)["stations"]}


def test_stations_are_listed_with_their_last_report_and_their_end(tally: Path, tmp_path: Path) -> None:
    now = datetime.now(UTC)
    assert "1 new" in _import(tally, _signed(tmp_path / "stick-7", 1, now))
    listed = _listed(tally)
    assert list(listed) == ["station", "stick-7"]
    assert (listed["station"]["visits"], listed["station"]["last_report"]) == (0, None)
    stick = listed["stick-7"]
    assert (stick["site"], stick["visits"], stick["revoked"], stick["ends_soon"]) == ("north", 1, None, False)
    assert stick["enrolled_by"]
    assert str(stick["last_report"]) >= moment(now)
    shown = run_program("tally", "stations", tally).out
    assert "stick-7 at north: certificate ends 20" in shown
    assert "1 visit, last report 20" in shown
    assert "no report yet" in shown


def test_a_certificate_that_ends_within_a_month_is_pointed_at(tally: Path) -> None:
    register = StationRegister(tally / "stations.json")
    register.refresh()
    days = {"station": 10, "stick-7": -1}
    now = datetime.now(UTC)
    write_register(
        tally / "stations.json",
        tuple(
            replace(one, expires=moment(now + timedelta(days=days[one.name]))) for one in register.stations
        ),
    )
    shown = run_program("tally", "stations", tally).out
    assert "station at main and everywhere else: certificate ends SOON" in shown
    assert "stick-7 at north: certificate ENDED" in shown
    assert "! station stick-7: its certificate ended; station station: its certificate ends within" in shown
    assert [one["ends_soon"] for one in _listed(tally).values()] == [True, True]
    assert "station stick-7: its certificate ended" in run_program("tally", "status", tally).out
    with at_terminal("tally", "watch", tally) as person:
        person.wait_for("station stick-7: its certificate ended")


def test_a_monitoring_system_is_told_by_the_exit_code(tally: Path) -> None:
    ended = run_program("tally", "status", tally, "--check")
    assert (ended.code, "nothing serves this tally" in ended.out) == (1, True)
    with served_by_program(tally):
        ended = run_program("tally", "status", tally, "--check", "--json")
        assert (ended.code, ended.document) == (0, {"trouble": None, "notice": None})
        write_condition(tally / "condition", "the disk is full")
        ended = run_program("tally", "status", tally, "--check")
        assert (ended.code, ended.out.strip()) == (1, "the disk is full")


def test_a_revocation_asks_at_a_terminal_and_wants_yes_without_one(tally: Path) -> None:
    refused = run_program("tally", "revoke", tally, "stick-7")
    assert (refused.code, "add --yes" in refused.err) == (2, True)
    with at_terminal("tally", "revoke", tally, "stick-7") as person:
        person.wait_for("Revoke stick-7, of the site north")
        person.type("n")
        assert person.end() == 1
    assert _listed(tally)["stick-7"]["revoked"] is None
    with at_terminal("tally", "revoke", tally, "stick-7", "--reason", "lost") as person:
        person.wait_for("[y/N]")
        person.type("y")
        assert person.end() == 0
    stick = _listed(tally)["stick-7"]
    assert stick["revoked"]
    assert (stick["revoked_reason"], audit_lines(tally)[-1]["reason"]) == ("lost", "lost")
    again = run_program("tally", "revoke", tally, "stick-7", "--yes")
    assert (again.code, "is revoked already" in again.err) == (2, True)


def test_a_revocation_is_taken_back_but_not_what_was_signed_meanwhile(tally: Path, tmp_path: Path) -> None:
    stick = tmp_path / "stick-7"
    before = _signed(stick, 1, datetime.now(UTC))
    assert run_program("tally", "revoke", tally, "stick-7", "--yes").code == 0
    arrived, meanwhile = _signed(stick, 2, datetime.now(UTC)), _signed(stick, 3, datetime.now(UTC))
    assert "1 refused" in _import(tally, arrived)
    assert run_program("tally", "unrevoke", tally, "stick-7").code == 2
    assert _listed(tally)["stick-7"]["revoked"]
    taken_back = run_program("tally", "unrevoke", tally, "stick-7", "--reason", "found in the car")
    assert taken_back.code == 0, taken_back.said
    assert _listed(tally)["stick-7"]["revoked"] is None
    line = audit_lines(tally)[-1]
    assert (line["what"], line["reason"], bool(line["by"])) == ("unrevoked", "found in the car", True)
    # What arrived in the gap, and what was made in it, stay out; what was made before or after counts.
    said = _import(tally, arrived, meanwhile, before, _signed(stick, 4, datetime.now(UTC)))
    assert "2 new, 0 known already, 2 refused" in said
    assert "while it was revoked" in said
    # A mistaken revocation leaves no hole, once somebody says so.
    vouched = run_program("tally", "unrevoke", tally, "stick-7", "--reason", "wrong stick", "--trust-gap")
    assert vouched.code == 0, vouched.said
    assert "2 new" in _import(tally, arrived, meanwhile)


def test_a_revocation_cannot_be_taken_back_where_there_is_none(tally: Path, tmp_path: Path) -> None:
    assert run_program("tally", "unrevoke", tally, "stick-7", "--reason", "x").code == 2
    assert "was ever enrolled" in run_program("tally", "unrevoke", tally, "stick-9", "--reason", "x").err
    assert run_program("tally", "revoke", tally, "stick-7", "--yes").code == 0
    second = run_program("tally", "enrol", tally, "stick-7", "--site", "south", "--out", tmp_path / "second")
    assert (second.code, "trust that one again" in second.err) == (2, True)
    assert run_program("tally", "unrevoke", tally, "stick-7", "--reason", "x").code == 0
    refused = run_program("tally", "unrevoke", tally, "stick-7", "--reason", "x")
    assert (refused.code, "is not revoked" in refused.err) == (2, True)
