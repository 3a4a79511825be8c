"""How a machine stands does not depend on when and how often its events arrive."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.folded import fold, fold_all

from unbrick.events.event import Event, EventKind
from unbrick.events.standing import MachineStatus, Standing, mark_of
from unbrick.model import Status

AT = "2024-07-19T06:12:03.000001Z"


def event(run: int, sequence: int, kind: EventKind | str, **details: Any) -> Event:
    return Event(f"20240719T0612{run:02}Z-8f3a1c", sequence, str(kind), AT, details=details)


def outcome(run: int, status: str, reason: str | None = None) -> Event:
    return event(run, 99, EventKind.OUTCOME, status=status, reason=reason)


def status_of(*events: Event) -> MachineStatus | None:
    mark = fold_all(events).mark
    return None if mark is None else mark.status


REPAIR = (
    event(1, 1, EventKind.RUN_STARTED),
    event(1, 2, EventKind.LOCKED),
    event(1, 3, EventKind.UNLOCKED),
    event(1, 4, EventKind.FOUND),
    outcome(1, "repaired"),
)


@pytest.mark.parametrize(
    ("count", "status"), [(1, "seen"), (2, "locked"), (3, "unlocked"), (4, "found"), (5, "repaired")]
)
def test_a_machine_comes_back_step_by_step(count: int, status: str) -> None:
    assert status_of(*REPAIR[:count]) is MachineStatus(status)


def test_nothing_said_is_no_status() -> None:
    assert Standing().mark is None
    assert status_of(event(1, 1, EventKind.NOTE), event(1, 2, EventKind.STEP_ENDED)) is None


@pytest.mark.parametrize("status", Status)
def test_every_outcome_of_a_disk_has_a_place(status: Status) -> None:
    wanted = MachineStatus.SEEN if status is Status.SCANNED else MachineStatus(status.value)
    assert status_of(event(1, 1, EventKind.RUN_STARTED), outcome(1, status.value)) is wanted


def test_a_repair_stays_proved_when_a_later_run_cannot_look_inside() -> None:
    locked = (event(2, 1, EventKind.RUN_STARTED), outcome(2, "needs-key", "key-missing"))
    assert status_of(*REPAIR, *locked) is MachineStatus.REPAIRED
    assert status_of(*REPAIR, outcome(2, "healthy")) is MachineStatus.REPAIRED


def test_a_repair_ends_with_a_later_finding_or_undo() -> None:
    assert status_of(*REPAIR, event(2, 1, EventKind.FOUND)) is MachineStatus.FOUND
    assert status_of(*REPAIR, outcome(2, "undone")) is MachineStatus.UNDONE
    assert status_of(*REPAIR, outcome(2, "undone"), outcome(3, "repaired")) is MachineStatus.REPAIRED


@pytest.mark.parametrize("reason", ["no-windows", "empty-disk"])
@pytest.mark.parametrize("status", ["healthy", "repaired", "found"])
def test_a_disk_for_data_beside_the_one_with_windows_changes_nothing(status: str, reason: str) -> None:
    for windows, data in ((1, 2), (2, 1)):
        told = outcome(data, "needs-hands", reason)
        assert status_of(told, outcome(windows, status)) is MachineStatus(status)
        assert status_of(told) is MachineStatus.NEEDS_HANDS
    raid = outcome(2, "needs-hands", "raid-member")
    assert status_of(outcome(1, "healthy"), raid) is MachineStatus.NEEDS_HANDS


def test_a_reason_is_told_and_a_hostile_one_is_not() -> None:
    said = fold_all([outcome(1, "needs-hands", "foreign-encryption:luks")]).mark
    assert said is not None
    assert said.reason == "foreign-encryption:luks"
    for hostile in ("\x1b[2J", "x" * 65, {"a": 1}, "two words"):
        mark = mark_of(event(1, 1, EventKind.OUTCOME, status="failed", reason=hostile))
        assert mark is not None
        assert mark.reason == ""


def test_unknown_kinds_and_outcomes_change_nothing() -> None:
    standing = fold_all(REPAIR)
    assert fold(standing, event(3, 1, "teleported")) == standing
    strange: tuple[Any, ...] = ("conquered", None, ["repaired"], {})
    for status in strange:
        assert fold(standing, event(3, 1, EventKind.OUTCOME, status=status)) == standing


EVENTS = st.builds(
    event,
    st.integers(0, 5),
    st.integers(1, 9),
    st.sampled_from([*EventKind, "teleported"]),
    status=st.sampled_from([*(status.value for status in Status), "conquered"]),
    reason=st.sampled_from([None, "hibernated", "key-missing"]),
)


@given(st.lists(EVENTS, max_size=15), st.data())
def test_any_interleaving_repetition_and_late_arrival_gives_the_same_standing(
    events: list[Event], data: st.DataObject
) -> None:
    repeated = data.draw(st.lists(st.sampled_from(events), max_size=10)) if events else []
    arrived = data.draw(st.permutations(events + repeated))
    assert fold_all(arrived) == fold_all(events)


@given(st.lists(st.lists(EVENTS, min_size=1, max_size=4), max_size=5), st.data())
def test_loss_and_sending_again_gives_the_same_standing(
    batches: list[list[Event]], data: st.DataObject
) -> None:
    """A cut loses the acknowledgement or the batch, or lets half of it through; the sender sends it again."""
    arrived: list[Event] = []
    for batch in batches:
        for _ in range(data.draw(st.integers(0, 3))):
            arrived += batch[: data.draw(st.integers(0, len(batch)))]
        arrived += batch
    assert fold_all(arrived) == fold_all(one for batch in batches for one in batch)


@pytest.mark.parametrize("status", ["found", "needs-key", "healthy", "failed"])
def test_a_later_visit_that_only_looks_at_the_disk_hides_nothing(status: str) -> None:
    scan = (event(2, 1, EventKind.RUN_STARTED), outcome(2, "scanned"))
    assert status_of(outcome(1, status), *scan) is MachineStatus(status)
    assert status_of(*scan, outcome(3, status)) is MachineStatus(status)


def test_a_part_that_was_repaired_does_not_hide_that_a_person_is_needed() -> None:
    partly = (*REPAIR[:4], event(1, 5, EventKind.MOVED), outcome(1, "needs-hands", "unreadable-file"))
    assert status_of(*partly) is MachineStatus.NEEDS_HANDS
    assert status_of(*partly, event(2, 1, EventKind.RUN_STARTED)) is MachineStatus.NEEDS_HANDS
    assert status_of(*partly, outcome(2, "healthy")) is MachineStatus.HEALTHY
