"""A drill compares what the tally counted with what the reports say, machine by machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from unbrick.drill.disk.machine_disk import MadeMachine
from unbrick.drill.options import MachineOptions
from unbrick.drill.recover import Recovered, differences


def _recovered(name: str, status: str, *hostnames: str, tmp_path: Any) -> Recovered:
    options = MachineOptions(name, 1)
    machine = MadeMachine(options, tmp_path / f"{name}.img", "0" * 8, (), ())
    document: dict[str, Any] = {
        "status": status,
        "reason": None,
        "error": None,
        "machine": {"hostnames": list(hostnames)},
        "installations": [],
    }
    return Recovered(machine, document, 1.0)


@pytest.mark.parametrize(
    ("counted", "told"),
    [
        ({"PC-1": "repaired", "PC-2": "healthy"}, []),
        (
            {"PC-1": "found", "PC-2": "healthy"},
            ["PC-1 is repaired by its report and found at the tally"],
        ),
        ({"PC-2": "healthy"}, ["PC-1 is repaired by its report and unknown at the tally"]),
        (
            {"PC-1": "repaired", "PC-2": "healthy", "PC-1-2": "repaired"},
            ["PC-1-2 (repaired) is no machine of the fleet"],
        ),
    ],
)
def test_a_machine_that_is_counted_wrongly_twice_or_not_at_all_is_named(
    counted: Mapping[str, str], told: list[str], tmp_path: Any
) -> None:
    results = [
        _recovered("PC-1", "repaired", "pc-1", "pc-1-2", tmp_path=tmp_path),
        _recovered("PC-2", "healthy", "pc-2", tmp_path=tmp_path),
    ]
    assert list(differences(results, counted)) == told
