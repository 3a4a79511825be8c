"""A machine is found by its name, its sticker's code or its serial number, whoever told of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.tally_events import Told, disk, uuid
from support.tally_sums import faults_of

from unbrick.events.short_code import code_of_key
from unbrick.model import Machine
from unbrick.tally.store.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    listed = tmp_path / "inventory.csv"
    listed.write_text("name,serial\nWARD-1,SN-1\nWARD-2,SN-2\nLISTED-3,SN-3\n")
    with Store.open(tmp_path / "tally.db") as opened:
        opened.import_inventory(listed)
        opened.add(Told(1, Machine(uuid(1), "SN-1", disk(1), ("WARD-1", "OLD-1"))).story("repaired"))
        opened.add(Told(2, Machine(None, "sn-3", disk(2), ("FOUND-3",))).story("repaired"))
        opened.add(Told(3, Machine(None, None, disk(5), ("TWIN-1",))).story("repaired"))
        opened.add(Told(4, Machine(None, None, disk(5), ("TWIN-2",))).story("repaired"))
        yield opened


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("ward-1", ["WARD-1"]),
        ("Old-1", ["WARD-1"]),
        ("sn-1", ["WARD-1"]),
        (code_of_key(f"smbios:{uuid(1)}").lower().replace("-", " "), ["WARD-1"]),
        ("WARD-2", ["WARD-2"]),
        ("SN-2", ["WARD-2"]),
        ("LISTED-3", ["FOUND-3"]),
        ("SN-3", ["FOUND-3"]),
        (code_of_key(f"disk:{disk(5)}"), ["TWIN-1", "TWIN-2"]),
        ("", []),
        ("  ", []),
        ("WARD-", []),
        ("%", []),
    ],
)
def test_a_machine_is_found(store: Store, wanted: str, names: list[str]) -> None:
    assert [row.name for row in store.find(wanted)] == names


def test_a_machine_is_found_by_the_serial_number_that_it_had_before(store: Store) -> None:
    store.add(Told(6, Machine(uuid(1), "SN-NEW", disk(1), ("WARD-1",))).story("repaired"))
    assert [row.serial for row in store.find("SN-NEW")] == [row.serial for row in store.find("SN-1")]
    assert faults_of(store) == ()
