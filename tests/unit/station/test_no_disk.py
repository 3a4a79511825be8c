"""A machine that shows no disk is reported too: somebody has been there, and knows why it is not done."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.folded import fold_all

from unbrick.events.standing import MachineStatus
from unbrick.model import Machine, Status
from unbrick.signing.event_signer import Signer
from unbrick.station.boot import _report_no_disk
from unbrick.station.telling.reports import Reports, Spool

MACHINE = Machine(smbios_uuid="4C4C4544-0051-3510-8052-B4C04F4A3132")


@pytest.fixture
def reports(tmp_path: Path) -> Reports:
    (tmp_path / "spool").mkdir()
    return Reports(tmp_path / "outbox", Spool(tmp_path / "spool"), None, Signer.generate()[0], print)


def test_the_visit_is_reported_and_counts_as_one_that_needs_a_person(reports: Reports) -> None:
    said = _report_no_disk(reports, MACHINE)
    assert (said.status, said.reason, said.machine) == (Status.NEEDS_HANDS, "no-windows", MACHINE)
    reports.sign_all(Machine())
    (event,) = (signed.event() for _, signed in reports.outbox.pending())
    assert (event.run, event.machine) == (said.run, MACHINE)
    mark = fold_all([event]).mark
    assert mark is not None
    assert (mark.status, mark.reason) == (MachineStatus.NEEDS_HANDS, "no-windows")


def test_of_a_machine_that_nobody_could_find_again_nothing_is_reported(reports: Reports) -> None:
    assert _report_no_disk(reports, Machine()).status is Status.NEEDS_HANDS
    reports.sign_all(Machine())
    assert reports.waiting() == 0
