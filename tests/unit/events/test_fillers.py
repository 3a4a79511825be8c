"""What vendors leave in the firmware instead of a serial number or a UUID names no machine."""

from __future__ import annotations

import pytest

from unbrick.events.identity import valid_serial, valid_smbios_uuid


@pytest.mark.parametrize(
    "text",
    [
        "To be filled by O.E.M.",
        "Default string",
        "System Serial Number",
        "SystemSerialNumb",
        "None",
        "Unknown",
        "Not Available",
        "0123456789",
        "12345678",
        "1234567890",
        "123456789012345",
        "00000000",
        "xxxxxxxxxx",
        "........",
        "OEM",
    ],
)
def test_a_filler_is_no_serial_number(text: str) -> None:
    assert valid_serial(text) is None
    assert valid_serial(text.upper()) is None


@pytest.mark.parametrize("text", ["PF1234", "1234", "5CG0123456", "MXL12345678", "1235467890"])
def test_a_serial_number_that_looks_odd_is_one(text: str) -> None:
    assert valid_serial(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "03000200-0400-0500-0006-000700080009",
        "00000000-0000-0000-0000-000000000000",
        "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
        "12345678-1234-5678-1234-567812345678",
        "6ab5b300-538d-1014-9fb5-b0684d007b53",
        "01010101-0101-0101-0101-010101010101",
    ],
)
def test_a_filler_is_no_firmware_uuid(text: str) -> None:
    assert valid_smbios_uuid(text) is None
