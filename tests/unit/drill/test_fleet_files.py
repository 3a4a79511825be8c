from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.drill import fleet
from unbrick.drill.disk.partition import Role, plan_layout
from unbrick.drill.disk.windows_volume import bitlocker_settings
from unbrick.drill.options import (
    Encryption,
    FleetOptions,
    MachineOptions,
    default_incident,
    standard_fleet,
)
from unbrick.errors import UsageError
from unbrick.model import Verdict


def _escrow(*machines: MachineOptions) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(fleet._escrow(machines).decode())))


def test_the_escrow_has_a_header_even_when_no_key_is_in_it() -> None:
    assert fleet._escrow([MachineOptions("PC-1", 1)]) == b"KeyID,RecoveryKey\r\n"


def test_the_escrow_holds_every_key_but_the_missing_ones() -> None:
    machines = standard_fleet(5)
    rows = _escrow(*machines)
    assert len(rows) == 2
    text = fleet._escrow(machines).decode()
    for machine in machines:
        layout = plan_layout(machine)
        for order in range(len(layout.of(Role.WINDOWS))):
            locked = bitlocker_settings(machine, layout, order)
            if locked is not None:
                password = locked.recovery_password.reveal().decode()
                assert (password in text) == machine.key_in_escrow
                assert (locked.protector_id in text) == machine.key_in_escrow


def test_each_volume_has_a_key_of_its_own_that_follows_from_the_seed() -> None:
    both = MachineOptions("PC-1", 1, encryption=Encryption.XTS_128, two_windows=True)
    rows = _escrow(both)
    assert len({row["RecoveryKey"] for row in rows}) == len({row["KeyID"] for row in rows}) == 2
    assert rows == _escrow(both)
    assert rows != _escrow(MachineOptions("PC-1", 2, encryption=Encryption.XTS_128, two_windows=True))


def test_the_inventory_has_a_row_for_each_machine() -> None:
    machines = standard_fleet(5)
    rows = list(csv.DictReader(io.StringIO(fleet._inventory(FleetOptions(machines, 5)))))
    assert list(rows[0]) == ["name", "serial", "site", "service", "priority", "owner"]
    assert [row["name"] for row in rows] == [machine.name for machine in machines]
    assert len({row["serial"] for row in rows}) == len(rows)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    kept = tmp_path / "mine.txt"
    kept.write_text("mine")
    options = FleetOptions((MachineOptions("PC-1", 1),), 1)
    for path in (tmp_path, kept):
        with pytest.raises(UsageError):
            fleet.make_fleet(path, options, RecordedRunner(), lambda line: None)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert kept.read_text() == "mine"


def test_an_incident_that_cannot_be_played_is_told_before_a_folder_is_made(tmp_path: Path) -> None:
    incident = default_incident()
    nothing_faulty = tuple(rule for rule in incident.rules if rule.verdict is not Verdict.FAULTY)
    machine = MachineOptions("PC-1", 1, incident=replace(incident, rules=nothing_faulty))
    with pytest.raises(
        UsageError, match="a drill cannot play the playbook crowdstrike-cf291: none of its rules"
    ):
        fleet.make_fleet(tmp_path / "fleet", FleetOptions((machine,), 1), RecordedRunner(), lambda line: None)
    assert list(tmp_path.iterdir()) == []
