"""Which boot entry starts Windows, and BootNext, the one variable that is written."""

from __future__ import annotations

import struct
import uuid
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.boot_machine import sata_path

from unbrick.drill.machine.boot_entries import (
    load_option,
    usb_path,
)
from unbrick.errors import FailedError
from unbrick.station.machine.firmware_entries import (
    BootEntry,
    find_windows_entry,
    parse_load_option,
    read_boot_entries,
    set_boot_next,
)

GLOBAL = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
ESP = "0F0E0D0C-0B0A-4908-8706-050403020100"
OTHER = "11111111-2222-4333-8444-555555555555"


def _path(guid: str, file: str) -> bytes:
    place = struct.pack("<IQQ16sBB", 1, 2048, 204800, uuid.UUID(guid).bytes_le, 2, 2)
    hard_drive = struct.pack("<BBH", 4, 1, len(place) + 4) + place
    name = file.encode("utf-16-le") + b"\0\0"
    return hard_drive + struct.pack("<BBH", 4, 4, len(name) + 4) + name + b"\x7f\xff\x04\x00"


def _variables(folder: Path, entries: dict[int, bytes]) -> Path:
    for number, value in entries.items():
        (folder / f"Boot{number:04X}-{GLOBAL}").write_bytes(struct.pack("<I", 7) + value)
    return folder


def test_the_entry_of_windows_is_told_by_its_file_whatever_it_is_called() -> None:
    option = load_option("Mein Windows", _path(ESP, "\\EFI\\MICROSOFT\\Boot\\bootmgfw.efi"), b"WINDOWS\0x")

    entry = parse_load_option(0x10, option)

    assert entry is not None
    assert (entry.number, entry.description, entry.active) == (0x10, "Mein Windows", True)
    assert entry.partition == ESP
    assert entry.is_windows


@pytest.mark.parametrize(
    ("name", "file"),
    [("Windows Boot Manager", "\\EFI\\debian\\shimx64.efi"), ("UEFI: USB", "\\EFI\\BOOT\\BOOTX64.EFI")],
)
def test_another_loader_is_not_windows_whatever_it_is_called(name: str, file: str) -> None:
    entry = parse_load_option(1, load_option(name, _path(ESP, file)))

    assert entry is not None
    assert not entry.is_windows


@pytest.mark.parametrize("file", ["EFI\\Microsoft\\Boot\\bootmgfw.efi", "/EFI/Microsoft/Boot/bootmgfw.efi"])
def test_a_path_that_firmware_understands_is_understood(file: str) -> None:
    entry = parse_load_option(1, load_option("Windows", _path(ESP, file)))

    assert entry is not None
    assert entry.is_windows


def test_what_was_put_before_windows_on_its_own_disk_is_started_where_nothing_else_is(tmp_path: Path) -> None:
    windows = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
    menu = load_option("Windows Boot Manager", _path(ESP, "\\EFI\\refind\\refind_x64.efi"))
    found = {0: menu, 1: load_option("Windows Boot Manager", _path(OTHER, windows))}
    found[2] = load_option("Windows", _path(ESP, windows))
    entries = read_boot_entries(_variables(tmp_path, found))

    assert find_windows_entry(entries[:1], frozenset({ESP})) == entries[0]
    assert find_windows_entry(entries[:1], frozenset({OTHER}), frozenset({ESP})) is None, "not its own disk"
    assert find_windows_entry(entries[:2], frozenset({ESP}), frozenset({OTHER})) == entries[0]
    assert find_windows_entry(entries, frozenset({ESP}), frozenset({OTHER})) == entries[2]


def test_the_entry_on_the_disk_that_was_repaired_comes_first(tmp_path: Path) -> None:
    windows = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
    folder = _variables(
        tmp_path,
        {
            0: load_option("UEFI stick", usb_path(4, 1)),
            1: load_option("Windows Boot Manager", _path(OTHER, windows)),
            2: load_option("Windows Boot Manager", _path(ESP, windows)),
            3: load_option("DVD", sata_path(1)),
        },
    )

    entries = read_boot_entries(folder)

    assert [entry.number for entry in entries] == [0, 1, 2, 3]
    assert find_windows_entry(entries, frozenset({ESP})) == entries[2]
    assert find_windows_entry(entries, frozenset()) == entries[1]
    data = frozenset({"of-a-disk-for-data"})
    assert find_windows_entry(entries, data, data | {ESP}) == entries[2], "the other disk is gone"
    assert find_windows_entry(entries, data, data) is None
    assert find_windows_entry(entries, frozenset(), data) == entries[1], "nothing is known of our own disk"
    nowhere = BootEntry(0, "Windows Boot Manager", True)
    assert find_windows_entry((nowhere,), data, data) == nowhere
    assert find_windows_entry((nowhere, *entries), data, data | {ESP}) == entries[2]
    assert find_windows_entry(entries[:1], frozenset()) is None
    assert read_boot_entries(tmp_path / "bios") == ()


@given(st.binary(max_size=300))
def test_what_firmware_wrote_is_an_entry_or_nothing(data: bytes) -> None:
    parse_load_option(0, data)


@given(st.integers(0, 400), st.integers(0, 255))
def test_a_damaged_entry_is_an_entry_or_nothing(place: int, value: int) -> None:
    option = bytearray(
        load_option("Windows Boot Manager", _path(ESP, "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"))
    )
    option[place % len(option)] = value
    entry = parse_load_option(0, bytes(option))
    assert entry is None or len(entry.description) < 100


@pytest.mark.parametrize("cut", range(1, 90, 7))
def test_an_entry_that_ends_early_is_none(cut: int) -> None:
    option = load_option("Windows Boot Manager", _path(ESP, "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"))
    assert parse_load_option(0, option[:-cut]) is None


def test_boot_next_is_number_and_attributes_and_nothing_else_is_written(tmp_path: Path) -> None:
    folder = _variables(tmp_path, {0x10: b"x"})
    before = {path.name for path in folder.iterdir()}

    set_boot_next(BootEntry(0x10, "Windows Boot Manager", True), folder)

    assert {path.name for path in folder.iterdir()} - before == {f"BootNext-{GLOBAL}"}
    assert (folder / f"BootNext-{GLOBAL}").read_bytes() == b"\x07\0\0\0\x10\0"
    set_boot_next(BootEntry(0x1234, "", True), folder)
    assert (folder / f"BootNext-{GLOBAL}").read_bytes() == b"\x07\0\0\0\x34\x12"


def test_a_firmware_that_keeps_nothing_is_noticed(tmp_path: Path) -> None:
    (tmp_path / f"BootNext-{GLOBAL}").symlink_to("/dev/null")
    with pytest.raises(FailedError, match="did not keep"):
        set_boot_next(BootEntry(1, "", True), tmp_path)
    with pytest.raises(FailedError, match="does not take"):
        set_boot_next(BootEntry(1, "", True), tmp_path / "missing")
