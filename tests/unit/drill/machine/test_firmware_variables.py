"""The firmware's variables, against the file that Debian ships and against bytes made here."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from support.boot_machine import SHIM, sata_path

from unbrick.drill.disk.partition import Role, plan_layout
from unbrick.drill.machine.boot_entries import (
    load_option,
    network_path,
    set_boot_order,
    usb_path,
    windows_entry,
)
from unbrick.drill.machine.firmware_variables import GLOBAL, FirmwareVariables
from unbrick.drill.options import MachineOptions
from unbrick.errors import FailedError

_FACTORY = Path("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
_SECURE_BOOT_ENABLE = uuid.UUID("f0a30bc7-af08-4556-99c4-001009c93a44")


@pytest.fixture
def variables(tmp_path: Path) -> FirmwareVariables:
    file = tmp_path / "variables.fd"
    file.write_bytes(_FACTORY.read_bytes())
    return FirmwareVariables(file)


def test_debians_variables_enforce_microsofts_keys(variables: FirmwareVariables) -> None:
    assert variables.get("SecureBootEnable", _SECURE_BOOT_ENABLE) == b"\1"
    keys = variables.get("db", uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f"))
    assert keys is not None
    assert b"Microsoft Corporation UEFI CA 2011" in keys
    assert variables.get("BootNext") is None


def test_what_is_set_takes_the_place_of_what_was(variables: FirmwareVariables, tmp_path: Path) -> None:
    before = dict(variables.all())
    variables.set("BootNext", b"\1\0")
    variables.set("BootNext", b"\x10\0")
    variables.set("SbatLevel", b"odd", SHIM)
    variables.save()
    again = FirmwareVariables(tmp_path / "variables.fd")
    assert again.get("BootNext") == b"\x10\0"
    assert again.get("SbatLevel", SHIM) == b"odd"
    after = dict(again.all())
    assert set(after) - set(before) == {(GLOBAL, "BootNext"), (SHIM, "SbatLevel")}
    assert {key: after[key] for key in before} == before
    assert (tmp_path / "variables.fd").stat().st_size == _FACTORY.stat().st_size


def test_a_full_store_is_said(variables: FirmwareVariables) -> None:
    with pytest.raises(FailedError, match="no room for the variable Large"):
        variables.set("Large", bytes(300_000))


@pytest.mark.parametrize("data", [b"", bytes(4096), _FACTORY.read_bytes()[:0x4A]])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "variables.fd"
    file.write_bytes(data)
    with pytest.raises(FailedError, match="variables"):
        FirmwareVariables(file)


def test_the_entry_of_windows_names_its_partition_and_file(variables: FirmwareVariables) -> None:
    layout = plan_layout(MachineOptions("WARD-1", 1))
    (esp,) = layout.of(Role.ESP)
    set_boot_order(variables, {3: windows_entry(layout, esp)}, (3, 0))
    entry = variables.get("Boot0003")
    assert entry is not None
    assert variables.get("BootOrder") == b"\3\0\0\0"
    active, length = struct.unpack_from("<IH", entry)
    name = "Windows Boot Manager".encode("utf-16-le") + b"\0\0"
    path = entry[6 + len(name) :][:length]
    assert (active, entry[6 : 6 + len(name)]) == (1, name)
    assert path[:4] == b"\x04\x01\x2a\x00"  # a hard disk's partition
    assert struct.unpack_from("<IQQ", path, 4) == (1, 2048, 36 * 2048)
    assert path[24:40] == esp.guid.bytes_le
    assert "\\EFI\\Microsoft\\Boot\\bootmgfw.efi".encode("utf-16-le") in path


def test_device_paths_are_those_that_ovmf_makes_itself() -> None:
    """Taken from the entries that OVMF wrote for such drives."""
    root = "02010c00d041030a00000000"
    end = "7fff0400"
    assert usb_path(5, 0).hex() == root + "010106000005" + "030506000000" + end
    assert sata_path(1).hex() == root + "01010600021f" + "03120a000100ffff0000" + end
    mac = "030b2500525400123456" + "00" * 26 + "01"
    address = "030c1b00" + "00" * 23
    card = bytes.fromhex("525400123456")
    assert network_path(6, card, http=False).hex() == root + "010106000006" + mac + address + end
    assert network_path(6, card, http=True).hex() == root + "010106000006" + mac + address + "03180400" + end
    assert load_option("A", b"xyz", b"!").hex() == "01000000" + "0300" + "41000000" + "78797a" + "21"
