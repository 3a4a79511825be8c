"""What a machine is counted by, and the vendors' fillers that identify nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from unbrick.events.event import Event, parse_event
from unbrick.events.identity import machine_key, valid_serial, valid_smbios_uuid
from unbrick.model import Machine

UUID = "4C4C4544-0051-3510-8052-B4C04F4A3132"


@pytest.mark.parametrize(
    "filler",
    [
        None,
        "",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "ffffffff-ffff-ffff-ffff-ffffffffffff",
        "03000200-0400-0500-0006-000700080009",
        "00020003-0004-0005-0006-000700080009",
        "12345678-1234-5678-1234-567812345678",
        "4c4c4544-0000-2010-8020-80c04f202020",
        "11111111-1111-1111-1111-111111111111",
        "Not Settable",
        "Not Present",
        UUID[:-1],
        UUID + "0",
    ],
)
def test_a_filler_is_no_uuid(filler: str | None) -> None:
    assert valid_smbios_uuid(filler) is None


@pytest.mark.parametrize("text", [UUID, UUID.lower(), f"{{{UUID}}}", f" {UUID}\n", UUID.replace("-", "")])
def test_a_uuid_has_one_form(text: str) -> None:
    assert valid_smbios_uuid(text) == UUID


@pytest.mark.parametrize(
    "filler",
    [
        *(None, "", " ", "To be filled by O.E.M.", "TO BE FILLED BY O.E.M.", "Default string", "0", "0000"),
        *("xxxx", "None", "System Serial Number", "123456789", "tab\there", "x" * 65, "\x1b[2Ja"),
    ],
)
def test_a_filler_is_no_serial_number(filler: str | None) -> None:
    assert valid_serial(filler) is None


def test_a_serial_number_is_taken_as_it_is() -> None:
    assert valid_serial(" 5CD1234XYZ \n") == "5CD1234XYZ"


@given(st.text(), st.text())
def test_whatever_is_valid_fits_into_an_event(uuid: str, serial: str) -> None:
    machine = Machine(valid_smbios_uuid(uuid), valid_serial(serial))
    event = Event("20240719T061203Z-8f3a1c", 1, "note", "2024-07-19T06:12:03.000001Z", machine=machine)
    try:
        data = event.to_bytes()
    except UnicodeEncodeError:
        pytest.fail("a serial number that no event can carry")
    assert parse_event(data).machine == machine


def test_a_machine_is_counted_by_the_best_that_is_known() -> None:
    names = ("ward-2", "WARD-1")
    assert machine_key(Machine(UUID, "S1", "D", names), "R") == f"smbios:{UUID}"
    assert machine_key(Machine(None, "S1", "D", names), "R") == "disk:D"
    assert machine_key(Machine(None, "S1", None, names), "R") == "serial:S1"
    assert machine_key(Machine(hostnames=names), "R") == "name:WARD-1"
    assert machine_key(Machine(hostnames=names[::-1]), "R") == "name:WARD-1"
    assert machine_key(Machine(), "R") == "run:R"
