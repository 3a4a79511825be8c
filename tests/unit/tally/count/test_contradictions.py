"""What contradicts another source is kept, shown, and moves no number until a person decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.tally_events import START, Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.errors import UsageError
from unbrick.model import Machine
from unbrick.tally.count.decisions import What
from unbrick.tally.records import ReceivedEvent
from unbrick.tally.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "tally.db") as opened:
        yield opened
        assert faults_of(opened) == ()
        # What is kept up to date bit by bit is what a migration would make of it.
        before = (opened.summary(START), opened.machines(limit=None), opened.disputes())
        opened.rebuild()
        assert (opened.summary(START), opened.machines(limit=None), opened.disputes()) == before


def of(events: list[ReceivedEvent], site: str | None, *, everywhere: bool = False) -> list[ReceivedEvent]:
    """The events of a station that is enrolled for a site."""
    return [replace(one, site=site, everywhere=everywhere) for one in events]


def visit(number: int, machine: Machine, status: str, site: str, station: str = "") -> list[ReceivedEvent]:
    told = Told(number, machine, site=site, station=station or f"stick-{site}")
    return of(told.story(status), site)


def named(*names: str, number: int = 1, serial: str | None = None) -> Machine:
    return Machine(None, serial, disk(number), names)


def expect(store: Store, folder: Path, *lines: str) -> None:
    (folder / "inventory.csv").write_text("name,serial,site\n" + "".join(f"{line}\n" for line in lines))
    store.import_inventory(folder / "inventory.csv")


def kinds(store: Store) -> list[str]:
    return sorted(one.kind for one in store.disputes() if one.settled is None)


def shown(store: Store) -> dict[str, str]:
    return {row.name: row.status for row in store.machines(limit=None)}


# --- F1: a run settles one line


def test_a_frame_that_names_many_computers_takes_one_line_away_at_most(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, *(f"PC-{number},,south" for number in range(20)))
    names = tuple(f"PC-{number}" for number in range(16))
    store.add(visit(1, named(*names), "repaired", "south"))
    summary = store.summary()
    assert (summary.total, summary.expected, summary.by_status["repaired"]) == (20, 19, 1)
    assert kinds(store) == ["lines"]


def test_a_stick_of_another_site_takes_no_line_away(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, *(f"PC-{number},SN-{number},north" for number in range(20)))
    names = tuple(f"PC-{number}" for number in range(16))
    store.add(visit(1, named(*names), "healthy", "south"))
    summary = store.summary()
    assert (summary.total, summary.expected, summary.finished) == (20, 20, 0)
    assert (summary.contradictions, summary.uncounted) == (1, 1)
    (dispute,) = store.disputes()
    assert (dispute.kind, dispute.stations, dispute.counted) == ("inventory", ("stick-south",), False)
    assert any("settle" in verb for verb in dispute.settles)


@pytest.mark.parametrize(
    ("line", "machine", "site", "counts"),
    [
        ("PC,SN-1,north", named("PC", serial="SN-1"), "south", True),
        ("PC,SN-1,north", named("PC", serial="sn-1"), "north", True),
        ("PC,SN-1,north", named("PC"), "north", True),
        ("PC,SN-1,NORTH", named("PC"), "north", True),
        ("PC,,St. Mary's", named("PC"), "st-marys", True),
        ("PC,,", named("PC"), "south", True),
        ("PC,SN-1,", named("PC"), "south", False),
        ("PC,SN-1,north", named("PC"), "south", False),
        ("PC,SN-1,north", named("PC", serial="SN-2"), "north", False),
        ("PC,,north", named("PC", serial="SN-2"), "south", False),
        ("OTHER,SN-1,north", named("PC", serial="SN-1"), "south", True),
    ],
)
def test_a_line_is_settled_where_serial_or_site_agree(
    store: Store, tmp_path: Path, line: str, machine: Machine, site: str, counts: bool
) -> None:
    expect(store, tmp_path, line)
    store.add(visit(1, machine, "repaired", site))
    assert store.summary().by_status == ({"repaired": 1} if counts else {"expected": 1})
    assert kinds(store) == ([] if counts else ["inventory"])


def test_a_station_for_every_site_counts_everywhere(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "PC,SN-1,north")
    store.add(of(Told(1, named("PC"), site="main").story("repaired"), "main", everywhere=True))
    assert store.summary().by_status == {"repaired": 1}
    assert store.summary().sites == {"north": {"repaired": 1}}
    assert kinds(store) == []


def test_a_corrected_inventory_settles_it(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "PC,SN-1,north")
    store.add(visit(1, named("PC"), "repaired", "south"))
    assert store.summary().by_status == {"expected": 1}
    expect(store, tmp_path, "PC,SN-1,south")
    assert store.summary().by_status == {"repaired": 1}
    assert store.disputes() == []


def test_a_person_counts_it_and_takes_that_back(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "PC,SN-1,north")
    store.add(visit(1, named("PC", serial="SN-2"), "repaired", "south"))
    (dispute,) = store.disputes()
    store.settle(dispute.code, What.COUNT, reason="the list is old", who="kim")
    assert store.summary().by_status == {"repaired": 1}
    assert (store.summary().contradictions, store.summary().uncounted) == (0, 0)
    store.settle(dispute.code, None, reason="", who="kim")
    assert store.summary().by_status == {"expected": 1}
    store.settle(dispute.code.lower(), What.DISMISS, reason="a lost stick", who="kim")
    summary = store.summary()
    assert (summary.by_status, summary.contradictions, summary.uncounted) == ({"expected": 1}, 0, 1)
    assert [one.settled for one in store.disputes()] == ["dismiss"]


def test_a_decision_needs_a_reason_and_a_contradiction_that_there_is(store: Store) -> None:
    store.add(visit(1, named("PC"), "repaired", "north"))
    store.add(visit(2, named("PC"), "found", "south"))
    (dispute,) = store.disputes()
    with pytest.raises(UsageError, match="needs a reason"):
        store.settle(dispute.code, What.COUNT, reason=" ", who="kim")
    with pytest.raises(UsageError, match="there is no contradiction"):
        store.settle("K7M3-9XPC", What.COUNT, reason="x", who="kim")


# --- F8, F13: a run is its station's, a machine its site's


def test_who_adds_to_another_stations_run_changes_nothing_of_its_machine(store: Store) -> None:
    told = Told(1, named("PC"), site="north", station="stick-1")
    events = told.story("repaired")
    store.add(of(events[:2], "north"))
    other = Told(1, named("PC", "EVIL"), site="south", station="stick-2", sequence=1)
    store.add(of([other.tell("found"), other.outcome("failed")], "south"))
    replaced = Told(1, named("EVIL"), site="south", station="stick-2").tell("run-started", why="other")
    store.add(of([replaced], "south"))
    store.add(of(events[2:], "north"))
    (row,) = store.machines()
    assert (row.name, row.site, row.status, row.station) == ("PC", "north", "repaired", "stick-1")
    assert set(kinds(store)) == {"run"}


def test_a_copied_run_of_a_station_of_the_same_site_does_not_count_either(store: Store) -> None:
    store.add(visit(1, named("PC"), "repaired", "north", "stick-1"))
    store.add(visit(1, named("PC"), "found", "north", "stick-2"))
    assert shown(store) == {"PC": "repaired"}
    assert kinds(store) == ["run"]


def test_an_event_with_anothers_number_is_shown(store: Store) -> None:
    store.add(of([Told(1, named("PC")).outcome("repaired"), Told(1, named("PC")).outcome("healthy")], "x"))
    assert store.summary().oddities == 1
    assert "events" in kinds(store)


def test_the_site_is_that_of_the_enrolment(store: Store) -> None:
    told = Told(1, named("PC"), site="north", station="stick-1")
    store.add(of(told.story("repaired"), "south"))
    assert store.summary().sites == {"south": {"repaired": 1}}
    assert kinds(store) == ["said-site"]
    (dispute,) = store.disputes()
    assert "north" in dispute.text


def test_a_station_that_names_another_site_no_more_contradicts_nothing(store: Store) -> None:
    sites = ("north", "south")
    told = [Told(1, named("PC"), site=site).tell("locked", sequence=1) for site in sites]
    kept, left = sorted(told, key=lambda one: one.event.id)
    assert kept.event.site
    store.add(of([left], kept.event.site))
    assert kinds(store) == ["said-site"]
    store.add(of([kept], kept.event.site))
    assert kinds(store) == ["events"]


def test_invented_sites_make_one_contradiction_and_no_site(store: Store) -> None:
    for number in range(50):
        told = Told(number, named(f"PC-{number}", number=number), site=f"site-{number}", station="stick-1")
        store.add(of(told.story("repaired"), "south"))
    assert store.summary().sites == {"south": {"repaired": 50}}
    assert store.summary().contradictions == 1


def test_a_medium_that_nobody_enrolled_is_believed_where_it_was(store: Store) -> None:
    store.add(Told(1, named("PC"), site="north", station="medium-1").story("repaired"))
    assert store.summary().sites == {"north": {"repaired": 1}}
    assert kinds(store) == []


def test_a_station_of_another_site_changes_nothing_that_is_counted(store: Store) -> None:
    store.add(visit(1, named("PC"), "needs-key", "north"))
    store.add(visit(2, named("PC"), "repaired", "south"))
    assert shown(store) == {"PC": "needs-key"}
    (dispute,) = store.disputes()
    assert (dispute.kind, dispute.counted) == ("site", True)
    store.settle(dispute.code, What.COUNT, reason="it moved", who="kim")
    assert shown(store) == {"PC": "repaired"}


def test_a_station_of_another_site_that_says_the_same_contradicts_nothing(store: Store) -> None:
    store.add(visit(1, named("PC"), "repaired", "north"))
    store.add(visit(2, named("PC"), "repaired", "south"))
    assert kinds(store) == []


# --- F11: the order of visits


def test_a_visit_dated_in_the_future_pins_nothing(store: Store) -> None:
    far = (START.replace(year=2038) - START.replace(year=2024, month=7, day=19, hour=0)).total_seconds()
    store.add(Told(int(far), named("PC")).story("needs-hands", "hibernated"))
    now = seconds_at(minutes=5)
    store.add(
        [
            replace(one, received=START + timedelta(minutes=6))
            for one in Told(now, named("PC")).story("failed")
        ]
    )
    assert shown(store) == {"PC": "failed"}


def test_a_dead_clock_does_not_make_a_later_visit_older(store: Store) -> None:
    store.add(Told(seconds_at(minutes=-10), named("PC"), minute=0, station="one").story("repaired"))
    store.add(Told(0, named("PC"), minute=60, station="two").story("found"))
    assert shown(store) == {"PC": "found"}


def test_a_report_that_was_carried_for_long_is_as_old_as_it_says(store: Store) -> None:
    store.add(Told(seconds_at(minutes=-60), named("PC"), minute=0, station="one").story("repaired"))
    store.add(Told(seconds_at(minutes=-3000), named("PC"), minute=9, station="two").story("found"))
    assert shown(store) == {"PC": "repaired"}


def seconds_at(*, minutes: float) -> int:
    """The number of the run that begins so many minutes after START."""
    begin = START.replace(year=2024, month=7, day=19, hour=0, minute=0)
    return int((START + timedelta(minutes=minutes) - begin).total_seconds())


# --- F10: one machine or several


def test_one_firmware_uuid_with_two_serials_is_shown_and_can_be_split(store: Store) -> None:
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("A",))).story("repaired"))
    store.add(Told(2, Machine(uuid(1), "SN-2", disk(2), ("B",))).story("needs-key"))
    assert store.summary().total == 1
    assert kinds(store) == ["uuid"]
    store.split("A", by="serial", reason="one UUID for all", who="kim")
    assert shown(store) == {"A": "repaired", "B": "needs-key"}
    assert kinds(store) == []
    store.add(Told(3, Machine(uuid(1), "SN-2", disk(2), ("B",))).story("repaired"))
    assert shown(store) == {"A": "repaired", "B": "repaired"}
    store.unsplit("B", who="kim")
    assert store.summary().total == 1


def test_a_serial_number_written_in_two_ways_is_one_machine_s_when_it_is_split(store: Store) -> None:
    for number, serial in enumerate(("SN-1", "sn-1", "SN-2"), 1):
        store.add(Told(number, Machine(uuid(1), serial, disk(1), ("PC",))).story("repaired"))
    assert {row.serial for row in store.split("PC", by="serial", reason="one UUID", who="kim")} == {
        "sn-1",
        "SN-2",
    }


def test_what_was_typed_to_split_takes_it_back_where_no_counted_row_has_that_name(store: Store) -> None:
    for number, (serial, name) in enumerate((("SN-1", "A"), ("SN-2", "B")), 1):
        store.add(
            Told(number, Machine(uuid(1), serial, disk(number), (name,)), station=f"stick-{number}").story(
                "repaired"
            )
        )
    store.split("A", by="serial", reason="one UUID for all", who="kim")
    store.discount("stick-1", discounted=True, reason="lost", who="kim")
    assert shown(store) == {"B": "repaired"}
    store.unsplit("a", who="kim")
    assert [one.what for one in store.decisions()] == ["discount"]


def test_what_was_typed_to_merge_takes_it_back_where_its_machine_is_not_found_so(
    store: Store, tmp_path: Path
) -> None:
    expect(store, tmp_path, "BED-7,SN-1,")
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("PC",)), station="lost").story("needs-key"))
    store.add(Told(2, Machine(uuid(2), "SN-2", disk(2), ("OTHER",))).story("repaired"))
    store.merge("BED-7", "OTHER", reason="new mainboard", who="kim")
    store.discount("lost", discounted=True, reason="lost", who="kim")
    assert shown(store) == {"BED-7": "expected", "OTHER": "repaired"}
    assert [row.name for row in store.unmerge("bed-7", who="kim")] == ["OTHER"]
    assert [one.what for one in store.decisions()] == ["discount"]


def test_a_split_is_taken_back_by_its_number_as_the_list_shows_it(store: Store) -> None:
    for number in (1, 2):
        store.add(Told(number, Machine(uuid(1), f"SN-{number}", disk(number), ("PC",))).story("repaired"))
    store.split("PC", by="serial", reason="one UUID for all", who="kim")
    (decision,) = store.decisions()
    assert (decision.what, decision.called, decision.who) == ("split", ("PC",), "kim")
    with pytest.raises(UsageError, match="there is no merge in force"):
        store.unmerge(decision.name, who="kim")
    with pytest.raises(UsageError, match="there is no split in force"):
        store.unsplit("decision:99", who="kim")
    store.unsplit(decision.name.upper(), who="kim")
    assert (store.summary().total, store.decisions()) == (1, [])


def test_of_two_splits_that_a_name_may_mean_neither_is_taken_back(store: Store) -> None:
    for number in range(1, 5):
        machine = Machine(uuid(number // 3), f"SN-{number}", disk(number), (f"PC-{number}", "BOTH"))
        store.add(Told(number, machine).story("repaired"))
    store.split("SN-1", by="serial", reason="one UUID for all", who="kim")
    store.split("SN-3", by="serial", reason="one UUID for all", who="kim")
    with pytest.raises(UsageError, match="several decisions on BOTH are in force") as error:
        store.unsplit("BOTH", who="kim")
    assert error.value.hint
    assert "decision:1 (SN-1), decision:2 (SN-3)" in error.value.hint
    assert store.summary().total == 4
    store.unsplit("PC-4", who="kim")
    assert store.summary().total == 3


def test_a_split_is_taken_back_also_for_a_part_that_was_merged_elsewhere(store: Store) -> None:
    for number in (1, 2):
        store.add(Told(number, Machine(uuid(1), f"SN-{number}", disk(number), ("PC",))).story("repaired"))
    store.add(Told(3, Machine(uuid(3), "SN-3", disk(3), ("NEW",))).story("failed"))
    store.split("PC", by="serial", reason="one UUID for all", who="kim")
    store.merge("NEW", "SN-2", reason="a new mainboard", who="kim")
    store.unsplit("PC", who="kim")
    assert shown(store) == {"PC": "repaired", "NEW": "failed"}


def test_a_merge_is_taken_back_also_where_its_machine_was_merged_on(store: Store) -> None:
    for number in (1, 2, 3):
        store.add(
            Told(number, Machine(uuid(number), None, disk(number), (f"PC-{number}",))).story("repaired")
        )
    store.merge("PC-2", "PC-1", reason="one", who="kim")
    store.merge("PC-3", "PC-2", reason="one", who="kim")
    store.unmerge("decision:1", who="kim")
    assert sorted(row.name for row in store.machines()) == ["PC-1", "PC-2"]


def test_clones_without_a_serial_number_are_split_by_what_differs(store: Store) -> None:
    for number in (1, 2):
        store.add(Told(number, Machine(uuid(1), None, disk(number), (f"CLONE-{number}",))).story("repaired"))
    (dispute,) = store.disputes()
    assert "split DIR MACHINE --by name --reason TEXT" in dispute.settles
    with pytest.raises(UsageError, match="the serial tells nothing apart of CLONE-1"):
        store.split("CLONE-1", by="serial", reason="clones", who="kim")
    assert store.summary().total == 1
    store.split("CLONE-1", by="name", reason="clones", who="kim")
    assert shown(store) == {"CLONE-1": "repaired", "CLONE-2": "repaired"}


def test_a_changed_mainboard_is_shown_and_can_be_merged(store: Store) -> None:
    store.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("PC",))).story("needs-key"))
    store.add(Told(2, Machine(uuid(2), "SN-2", disk(1), ("PC",))).story("repaired"))
    assert store.summary().by_status == {"needs-key": 1, "repaired": 1}
    assert kinds(store) == ["name"]
    store.merge("SN-2", "SN-1", reason="new mainboard", who="kim")
    assert store.summary().by_status == {"repaired": 1}
    store.add(Told(3, Machine(uuid(1), "SN-1", disk(1), ("PC",))).story("found"))
    assert store.summary().by_status == {"found": 1}
    store.unmerge("pc", who="kim")
    assert store.summary().total == 2


def test_one_serial_number_of_two_machines_is_shown(store: Store) -> None:
    for number in (1, 2):
        store.add(
            Told(number, Machine(uuid(number), "SN-1", disk(number), (f"P{number}",))).story("repaired")
        )
    assert kinds(store) == ["serial"]


# --- revoke --discount


def test_a_station_whose_word_is_taken_out_leaves_what_others_said(store: Store, tmp_path: Path) -> None:
    expect(store, tmp_path, "A,,north", "B,,north", "C,,north")
    store.add(visit(1, named("A", number=1), "repaired", "north", "lost"))
    store.add(visit(2, named("B", number=2), "needs-key", "north", "good"))
    store.add(visit(3, named("B", number=2), "repaired", "north", "lost"))
    store.add(visit(4, named("C", number=3), "repaired", "north", "good"))
    rested = store.discount("lost", discounted=True, reason="lost", who="kim")
    assert [(row.name, row.status) for row in rested] == [("A", "repaired"), ("B", "repaired")]
    assert shown(store) == {"A": "expected", "B": "needs-key", "C": "repaired"}
    assert faults_of(store) == ()
    back = store.discount("lost", discounted=False, reason="found", who="kim")
    assert {row.name for row in back} == {"A", "B"}
    assert shown(store) == {"A": "repaired", "B": "repaired", "C": "repaired"}


def test_a_station_whose_word_is_taken_out_lends_no_firmware_uuid(store: Store) -> None:
    """Two computers with one cloned disk and name, without a UUID, stay what they are without its word."""
    store.add(Told(1, named("PC", number=1), station="good").story("needs-key"))
    store.add(Told(2, Machine(uuid(9), None, disk(1), ("PC",)), station="lost").story("repaired"))
    store.add(Told(3, Machine(uuid(9), None, disk(2), ("OTHER",)), station="good").story("repaired"))
    assert shown(store) == {"OTHER": "repaired"}
    rested = store.discount("lost", discounted=True, reason="lost", who="kim")
    assert [row.name for row in rested] == ["PC"]
    assert shown(store) == {"PC": "needs-key", "OTHER": "repaired"}
    store.add(Told(4, named("PC", number=1), station="good").story("repaired"))
    store.add(Told(5, Machine(uuid(8), None, disk(1), ("PC",)), station="lost").story("failed"))
    assert shown(store) == {"PC": "repaired", "OTHER": "repaired"}
    store.discount("lost", discounted=False, reason="found", who="kim")
    assert len(store.machines()) == 2


def test_a_station_whose_word_is_taken_out_lends_no_name_to_a_disk(store: Store) -> None:
    store.add(Told(1, named(number=1), station="good").story("needs-key"))
    store.add(Told(2, named("EVIL", number=1), station="lost").story("repaired"))
    store.add(Told(3, named("PC", number=1), station="good").story("failed"))
    store.discount("lost", discounted=True, reason="lost", who="kim")
    assert shown(store) == {"PC": "failed"}


def test_a_run_whose_id_a_discounted_station_used_first_counts(store: Store) -> None:
    store.add(visit(1, named("PC"), "found", "north", "lost"))
    store.add(visit(1, named("PC"), "repaired", "north", "good"))
    assert shown(store) == {"PC": "found"}
    store.discount("lost", discounted=True, reason="lost", who="kim")
    assert (shown(store), kinds(store)) == ({"PC": "repaired"}, [])
    later = Told(1, named("PC"), site="north", station="lost", sequence=8).outcome("healthy")
    store.add(of([later], "north"))
    assert (shown(store), kinds(store)) == ({"PC": "repaired"}, [])
    store.discount("lost", discounted=False, reason="found", who="kim")
    assert (shown(store), kinds(store)) == ({"PC": "healthy"}, ["run"])


def test_the_last_events_are_shown_at_the_machine_s_place_not_at_their_station_s(
    store: Store, tmp_path: Path
) -> None:
    expect(store, tmp_path, "PC,,north")
    store.add(of(Told(1, named("PC"), site="main").story("repaired"), "main", everywhere=True))
    assert {one.site for one in store.recent()} == {"north"}


# --- no contradiction asks a person to undo what a person decided


def test_a_changed_mainboard_that_was_merged_is_not_several_computers(store: Store) -> None:
    old, new = Machine(uuid(1), "OLD", disk(1), ("WARD-1",)), Machine(uuid(2), "NEW", disk(2), ("WARD-1",))
    store.add(visit(1, old, "needs-key", "north"))
    store.add(visit(2, new, "repaired", "north"))
    one, other = (row.code or "" for row in store.machines())
    store.merge(one, other, reason="a new mainboard", who="kim")
    assert (store.summary().total, kinds(store)) == (1, [])
    store.add(visit(3, new, "repaired", "north"))
    assert kinds(store) == []
    kept = store.machines()[0].key.removeprefix("smbios:")
    store.add(visit(4, Machine(kept, "THIRD", disk(3), ("WARD-1",)), "repaired", "north"))
    assert kinds(store) == ["uuid"]
    store.unmerge("WARD-1", who="kim")
    assert kinds(store) == ["name", "uuid"]


@pytest.mark.parametrize("runs", [1, 60])
def test_a_disk_without_a_uuid_that_was_merged_is_not_several_computers(store: Store, runs: int) -> None:
    store.add(visit(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-1",)), "needs-key", "north"))
    for number in range(runs):
        store.add(visit(10 + number, Machine(None, "SN-2", disk(2), ("WARD-2",)), "repaired", "north"))
    store.merge("WARD-1", "WARD-2", reason="it has a new name", who="kim")
    store.add(visit(100, Machine(None, "SN-2", disk(2), ("WARD-2",)), "repaired", "north"))
    assert (store.summary().total, kinds(store)) == (1, [])


def test_the_parts_of_a_split_machine_may_have_one_name(store: Store) -> None:
    for number in (1, 2):
        store.add(visit(number, Machine(uuid(1), f"SN-{number}", disk(number), ("VM",)), "repaired", "north"))
    store.split("VM", by="serial", reason="two computers", who="kim")
    assert (store.summary().total, kinds(store)) == (2, [])
