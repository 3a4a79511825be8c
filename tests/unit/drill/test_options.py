from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from unbrick.drill.options import (
    MIB,
    Encryption,
    FleetOptions,
    ImageFormat,
    MachineOptions,
    fleet_of,
    parse_size,
    standard_fleet,
)
from unbrick.errors import UsageError
from unbrick.model import Status


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256M", 256 * MIB),
        ("2G", 2048 * MIB),
        ("512MiB", 512 * MIB),
        ("1t", MIB * MIB),
        ("123", 123),
        ("4kB", 4096),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "M", "-1M", "1.5G", "12X", "1M2", "9" * 20, "１M2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_size(text)


def test_the_standard_fleet_is_the_one_the_drill_promises() -> None:
    fleet = standard_fleet(seed=7)
    assert Counter(machine.expected for machine in fleet) == {
        Status.REPAIRED: 5,
        Status.NEEDS_KEY: 1,
        Status.NEEDS_HANDS: 1,
        Status.HEALTHY: 1,
    }
    assert {machine.encryption for machine in fleet} == set(Encryption)
    # Every shape the fault comes in is among those that get repaired.
    shapes = {machine.variant % 4 for machine in fleet if machine.expected is Status.REPAIRED}
    assert shapes == {0, 1, 2, 3}
    FleetOptions(fleet, 7)


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, Status.REPAIRED),
        ({"dirty": True, "crashed": True, "two_windows": True}, Status.REPAIRED),
        ({"spared": True}, Status.HEALTHY),
        ({"hibernated": True}, Status.NEEDS_HANDS),
        ({"encryption": Encryption.XTS_128}, Status.REPAIRED),
        ({"encryption": Encryption.XTS_128, "key_in_escrow": False}, Status.NEEDS_KEY),
        ({"encryption": Encryption.XTS_128, "key_in_escrow": False, "hibernated": True}, Status.NEEDS_KEY),
        ({"encryption": Encryption.XTS_128, "key_in_escrow": False, "clear_key": True}, Status.REPAIRED),
    ],
)
def test_what_is_expected_follows_from_what_a_machine_is(
    properties: dict[str, Any], expected: Status
) -> None:
    assert MachineOptions("PC-1", 1, **properties).expected is expected


@pytest.mark.parametrize(
    "properties",
    [
        {"name": "../PC"},
        {"name": "lower"},
        {"name": "A" * 16},
        {"size": MIB},
        {"size": 10**18},
        {"files": -1},
        {"sector_size": 520},
        {"clear_key": True},
        {"sector_size": 4096, "encryption": Encryption.XTS_128},
    ],
)
def test_machines_that_cannot_be_are_refused(properties: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        MachineOptions(**{"name": "PC-1", "seed": 1, **properties})


def test_a_fleet_has_names_of_its_own_that_follow_from_its_seed() -> None:
    fleet = fleet_of(50, MachineOptions("PC-1", 3, image_format=ImageFormat.VHDX))
    names = [machine.name for machine in fleet.machines]
    assert len(set(names)) == 50
    assert names == [machine.name for machine in fleet_of(50, MachineOptions("PC-1", 3)).machines]
    assert names != [machine.name for machine in fleet_of(50, MachineOptions("PC-1", 4)).machines]
    assert {machine.variant for machine in fleet.machines} == set(range(50))


def test_two_machines_of_one_name_and_a_fleet_of_none_are_refused() -> None:
    machine = MachineOptions("PC-1", 1)
    with pytest.raises(UsageError):
        FleetOptions((machine, machine), 1)
    with pytest.raises(UsageError):
        fleet_of(0, machine)


def test_disks_with_large_sectors_must_be_larger() -> None:
    MachineOptions("PC-1", 1, size=384 * MIB, sector_size=4096)
    with pytest.raises(UsageError, match="not possible"):
        MachineOptions("PC-1", 1, size=160 * MIB, sector_size=4096)
