"""Every machine is counted once, whatever it sent, in whatever order, and whoever else has its disk."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.events.event import canonical_json, parse_event
from unbrick.events.wire import SignedEvent
from unbrick.model import Machine
from unbrick.tally.records import Basis, ReceivedEvent
from unbrick.tally.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()


def shown(store: Store) -> dict[str, str]:
    return {row.name: row.status for row in store.machines(limit=None)}


def test_a_repair_is_one_machine_with_all_that_is_known_of_it(store: Store) -> None:
    told = Told(1, Machine(None, None, disk(1), ("WARD-1",)), minute=3)
    assert store.add(told.story("repaired")) == 3
    (row,) = store.machines()
    assert (row.name, row.site, row.status, row.reason) == ("WARD-1", "st-marys", "repaired", None)
    assert (row.basis, row.station, row.run) == (Basis.PROVED, "stick-1", told.story("repaired")[0].event.run)
    assert row.last_seen is not None
    assert (row.last_seen - START).total_seconds() == 180
    summary = store.summary()
    assert (summary.total, summary.by_status, summary.events) == (1, {"repaired": 1}, 3)
    assert summary.sites == {"st-marys": {"repaired": 1}}


def test_the_same_events_again_change_nothing(store: Store) -> None:
    events = Told(1, Machine(None, None, disk(1), ("WARD-1",))).story("needs-key", "key-missing")
    assert store.add([*events, *events]) == 3
    before = (store.summary(START), store.machines())
    assert store.add(events) == 0
    assert store.add([events[1], events[1]]) == 0
    assert (store.summary(START), store.machines()) == before
    assert store.summary().reasons == {"needs-key": {"key-missing": 1}}


def test_an_event_is_kept_as_it_was_signed(store: Store, tmp_path: Path) -> None:
    event = Told(1).tell("note", word="Schlüssel")
    store.add([event])
    with sqlite3.connect(tmp_path / "tally.db") as reader:
        ((id_, data, signature, at),) = reader.execute("select id, data, signature, at from events")
    assert (id_.hex(), data, signature, at) == (event.event.id, event.signed.data, "unsigned", event.event.at)


def test_many_runs_of_one_machine_are_one_row(store: Store) -> None:
    machine = Machine(None, None, disk(1), ("WARD-1",))
    store.add(Told(1, machine).story("needs-key", "key-missing"))
    store.add(Told(3, machine, station="stick-2").story("repaired"))
    store.add(Told(2, machine).story("failed", "timed-out"))
    assert shown(store) == {"WARD-1": "repaired"}
    assert store.machines()[0].station == "stick-2"
    assert store.summary().reasons == {}


def test_clones_of_one_disk_are_told_apart_by_name(store: Store) -> None:
    for number in range(3):
        store.add(Told(number, Machine(None, None, disk(1), (f"DESK-{number}",))).story("repaired"))
    assert store.summary().total == 3


def test_the_case_of_a_name_makes_no_second_machine(store: Store) -> None:
    store.add(Told(1, Machine(None, None, disk(1), ("ward-1",))).story("needs-key"))
    store.add(Told(2, Machine(None, None, disk(1), ("WARD-1",))).story("repaired"))
    assert [row.status for row in store.machines()] == ["repaired"]


def test_a_run_that_learned_no_name_counts_with_the_first_named_machine_of_its_disk(store: Store) -> None:
    store.add(Told(1, Machine(None, None, disk(1), ())).story("needs-key", "key-missing"))
    assert shown(store) == {disk(1): "needs-key"}
    store.add(Told(2, Machine(None, None, disk(1), ("DESK-2",))).story("repaired"))
    assert shown(store) == {"DESK-2": "repaired"}
    # A later look at the locked disk belongs to the machine that now comes first.
    store.add(Told(3, Machine(None, None, disk(1), ("DESK-1",))).story("failed"))
    store.add(Told(4, Machine(None, None, disk(1), ())).story("needs-hands", "hibernated"))
    assert shown(store) == {"DESK-1": "needs-hands", "DESK-2": "repaired"}


def test_the_firmware_names_a_machine_whose_disk_was_seen_before_without_it(store: Store) -> None:
    store.add(Told(1, Machine(None, None, disk(1), ("WARD-1",))).story("needs-key"))
    store.add(Told(2, Machine(None, None, disk(2), ("WARD-1",))).story("failed"))
    store.add(Told(3, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",))).story("repaired"))
    assert sorted((row.key, row.status) for row in store.machines()) == [
        (f"disk:{disk(2)}:WARD-1", "failed"),
        (f"smbios:{uuid(1)}", "repaired"),
    ]


def test_a_machine_with_a_new_disk_is_the_same_machine(store: Store) -> None:
    store.add(Told(1, Machine(uuid(1), None, disk(1), ("WARD-1",))).story("failed"))
    store.add(Told(2, Machine(uuid(1), None, disk(9), ("WARD-1-NEW",))).story("repaired"))
    assert shown(store) == {"WARD-1": "repaired"}
    assert store.machines(name="ward-1-new")[0].name == "WARD-1"


@pytest.mark.parametrize(
    "filler", ["0" * 8 + "-0000-0000-0000-" + "0" * 12, "F" * 8 + "-FFFF-FFFF-FFFF-" + "F" * 12]
)
def test_a_vendors_filler_makes_no_two_machines_one(store: Store, filler: str) -> None:
    serial = "To be filled by O.E.M."
    for number in range(2):
        store.add(Told(number, Machine(filler, serial, disk(number), (f"W-{number}",))).story("repaired"))
    assert store.summary().total == 2


def test_a_visit_without_any_identity_is_no_machine(store: Store) -> None:
    store.add([Told(1).tell("run-started"), *Told(2).story("failed", "no-disk")])
    summary = store.summary()
    assert (summary.total, summary.by_status, summary.without_identity) == (0, {}, 2)
    assert store.machines() == ()


def test_a_visit_is_a_machine_once_it_shows_what_it_is(store: Store) -> None:
    told = Told(1)
    store.add([told.tell("run-started")])
    assert store.summary().without_identity == 1
    told.machine = Machine(None, None, disk(1), ())
    store.add([told.tell("locked")])
    summary = store.summary()
    assert (summary.total, summary.without_identity) == (1, 0)


def test_an_event_that_contradicts_another_is_kept_and_the_smaller_id_counts(store: Store) -> None:
    machine = Machine(None, None, disk(1), ("WARD-1",))
    one = Told(1, machine).outcome("repaired")
    other = Told(1, machine).outcome("healthy")
    first, second = sorted([one, other], key=lambda event: event.event.id)
    store.add([second])
    assert store.summary().oddities == 0
    store.add([first])
    summary = store.summary()
    assert (summary.events, summary.oddities, summary.total) == (2, 1, 1)
    assert list(summary.by_status) == [first.event.details["status"]]


def test_a_repair_stays_proved_after_a_later_run_could_not_look_inside(store: Store) -> None:
    machine = Machine(None, None, disk(1), ("WARD-1",))
    store.add(Told(1, machine).story("repaired"))
    store.add(Told(2, replace(machine, hostnames=())).story("needs-key", "key-missing"))
    assert shown(store) == {"WARD-1": "repaired"}


def test_a_newer_stations_event_is_kept_by_the_id_of_its_own_bytes(store: Store) -> None:
    plain = Told(1, Machine(None, None, disk(1), ("WARD-1",))).outcome("repaired")
    document = {**json.loads(plain.signed.data), "schema": 2, "firmware": "new"}
    data = canonical_json(document)
    event = ReceivedEvent(SignedEvent(data, "unsigned"), parse_event(data), "stick-1", START)
    assert store.add([event]) == 1
    assert store.add([event]) == 0
    assert shown(store) == {"WARD-1": "repaired"}


def test_a_reason_that_is_no_word_is_not_shown(store: Store) -> None:
    store.add(Told(1, Machine(None, None, disk(1))).story("failed", "a\nb\x1b[2J" + "x" * 2000))
    assert [(row.status, row.reason) for row in store.machines()] == [("failed", None)]


def test_lists_are_by_name_and_narrowed(store: Store) -> None:
    for number, status in enumerate(["repaired", "failed", "repaired", "needs-key"]):
        told = Told(
            number, Machine(None, None, disk(number), (f"W-{9 - number}",)), site=f"site-{number % 2}"
        )
        store.add(told.story(status))
    assert [row.name for row in store.machines()] == ["W-6", "W-7", "W-8", "W-9"]
    assert [row.name for row in store.machines(limit=2, offset=1)] == ["W-7", "W-8"]
    assert [row.name for row in store.machines(status="repaired")] == ["W-7", "W-9"]
    assert [row.name for row in store.machines(site="site-1")] == ["W-6", "W-8"]
    assert [row.name for row in store.machines(name="w-8")] == ["W-8"]
    assert store.machines(name="w-1") == ()


def test_the_last_events_come_first_with_the_machine_they_count_for(store: Store) -> None:
    store.add(Told(1, Machine(None, None, disk(1), ("W-1",)), minute=1).story("failed", "timed-out"))
    store.add(Told(2, Machine(None, None, disk(2), ("W-2",)), minute=2).story("repaired"))
    last = store.recent(4)
    assert [(one.name, one.sequence, one.status) for one in last] == [
        ("W-2", 3, "repaired"),
        ("W-2", 2, "locked"),
        ("W-2", 1, "seen"),
        ("W-1", 3, "failed"),
    ]
    assert last[3].reason == "timed-out"
