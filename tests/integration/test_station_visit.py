"""A station's work on real disks without a boot: what it leaves on the disk, in the outbox, at the tally."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.drilled import Drills
from support.station_visit import visit
from support.tally_server import new_tally, served_by_program, stored_ids

from unbrick.events.event import EventKind
from unbrick.events.wire import SignedEvent
from unbrick.report.outbox import Outbox
from unbrick.signing.carried_text import read_text, write_text

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def _waiting(memory: Path) -> list[SignedEvent]:
    told: list[str] = []
    found = [signed for _, signed in Outbox(memory / "outbox", told.append).pending()]
    assert told == []
    return found


def test_a_machine_is_repaired_once_and_says_so_to_the_next_medium(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")

    first = visit([disk.image], tmp_path / "first", medium="00000000000000aa")
    second = visit([disk.image], tmp_path / "second", medium="00000000000000bb")

    assert [one["status"] for one in first["disks"]] == ["repaired"]
    assert first["disks"][0]["earlier"] is None
    assert first["disks"][0]["notes"][0] == "a note"
    assert [one["status"] for one in second["disks"]] == ["healthy"]
    earlier = second["disks"][0]["earlier"]
    assert earlier["medium"] == "00000000000000aa"
    assert earlier["run"] == first["disks"][0]["run"]
    assert disk.complaints(repaired=True) == ()


def test_without_settings_reports_wait_signed_by_the_mediums_own_key(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")

    ended = visit([disk.image], tmp_path / "memory", keys=[disk.keys])

    waiting = _waiting(tmp_path / "memory")
    assert ended["disks"][0]["status"] == "repaired"
    assert ended["waiting"] == len(waiting) > 10
    outcomes = [one for one in waiting if one.event().kind == EventKind.OUTCOME]
    assert [one.event().details["status"] for one in outcomes] == ["repaired"]
    assert read_text(write_text(outcomes)) == tuple(outcomes)
    log = (tmp_path / "memory" / "log" / "visit.log").read_text()
    assert "outcome" in log
    for password in disk.passwords().values():
        assert password not in log
        assert all(password not in one.data.decode() for one in waiting)


def test_settings_without_a_tally_name_the_site_and_reports_are_kept(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    file = tmp_path / "unbrick.yaml"
    file.write_text("mode: unattended\nsite: st-marys\n")

    ended = visit([disk.image], tmp_path / "memory", station=file)

    waiting = _waiting(tmp_path / "memory")
    assert ended["disks"][0]["status"] == "repaired"
    assert ended["waiting"] == len(waiting) > 10
    assert {one.event().site for one in waiting} == {"st-marys"}


def test_settings_that_nobody_signed_change_nothing(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    before = disk.digest()

    ended = visit([disk.image], tmp_path / "memory", only_looks="nobody signed the settings")

    assert ended["disks"][0]["status"] == "found"
    assert disk.digest() == before


def test_every_disk_is_worked_on_and_a_locked_one_holds_up_none(drills: Drills, tmp_path: Path) -> None:
    locked = drills.copy("xts-128", tmp_path / "locked")
    plain = drills.copy("plain", tmp_path / "plain")

    ended = visit([locked.image, plain.image], tmp_path / "memory")

    assert [one["status"] for one in ended["disks"]] == ["needs-key", "repaired"]
    assert [said.split()[1] for said in ended["told"]] == ["needs-key", "repaired"]


def test_what_waited_and_what_is_new_is_at_the_tally_once_there_is_a_network(
    drills: Drills, tmp_path: Path
) -> None:
    tally, memory = new_tally(tmp_path / "tally"), tmp_path / "memory"
    file = tally / "unbrick.yaml"
    with served_by_program(tally) as server:
        text = file.read_text()
        address = text[text.index('"') + 1 :].partition('"')[0]
        file.write_text(text.replace(address, f"127.0.0.1:{server.port}"))
        disk = drills.copy("plain", tmp_path / "disks")
        alone = visit([disk.image], memory, station=file, online=False)
        kept = {one.id for one in _waiting(memory)}
        again = visit([disk.image], memory, station=file)

    assert alone["waiting"] == len(kept) > 10
    assert again["waiting"] == 0
    assert kept < set(stored_ids(tally))
    assert _waiting(memory) == []


def test_a_mistake_of_our_own_on_one_disk_is_counted_and_stops_no_other(
    drills: Drills, tmp_path: Path
) -> None:
    first, second = (drills.copy("plain", tmp_path / name) for name in ("first", "second"))

    ended = visit([first.image, second.image], tmp_path / "memory", fault=True)

    assert [one["status"] for one in ended["disks"]] == ["failed", "repaired"]
    assert ended["disks"][0]["error"] == "internal error (ZeroDivisionError)"
    outcomes = [one.event() for one in _waiting(tmp_path / "memory") if one.event().kind == EventKind.OUTCOME]
    assert [one.details["status"] for one in outcomes] == ["failed", "repaired"]
    log = (tmp_path / "memory" / "log" / "visit.log").read_text()
    assert "a mistake of our own" in log
    assert "in fail_once" in log, "the log says where it happened"
