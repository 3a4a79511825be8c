"""What an ending knows of a machine that was repaired before."""

from __future__ import annotations

from dataclasses import replace

from unbrick.model import DiskReport, EarlierRun, RunState, Status
from unbrick.station.ending.case import already_done, already_repaired


def _report(status: Status, earlier: EarlierRun | None = None) -> DiskReport:
    return DiskReport("/dev/sda", status, runs=(earlier,) if earlier else ())


BEFORE = EarlierRun("20261125T170000Z-8f3a1c", "2026-11-25T17:00:00Z", "0123456789abcdef", RunState.REPAIRED)


def test_a_machine_that_was_repaired_before_says_when_and_by_which_medium() -> None:
    assert already_repaired(_report(Status.HEALTHY, BEFORE)) == "2026-11-25 by medium 01234567"
    by_hand = replace(BEFORE, medium=None)
    assert already_repaired(_report(Status.HEALTHY, by_hand)) == "2026-11-25"
    assert already_repaired(_report(Status.HEALTHY)) is None
    taken_back = replace(BEFORE, run="20261126T080000Z-000001", state=RunState.UNDONE)
    assert already_repaired(_report(Status.HEALTHY, taken_back)) is None
    report = DiskReport("/dev/sda", Status.HEALTHY, runs=(taken_back, BEFORE))
    assert already_repaired(report) == "2026-11-25 by medium 01234567"


def test_what_had_to_be_repaired_now_was_not_donealready_done() -> None:
    assert already_done([_report(Status.HEALTHY, BEFORE)]) is not None
    assert already_done([_report(Status.HEALTHY, BEFORE), _report(Status.REPAIRED)]) is None
    assert already_done([_report(Status.REPAIRED, BEFORE)]) is None
    assert already_done([_report(Status.HEALTHY)]) is None
    assert already_done([]) is None
