"""How a machine is left: the way back into Windows, and nothing left open."""

from __future__ import annotations

from pathlib import Path

import pytest

from unbrick.errors import FailedError
from unbrick.station import restart as finish
from unbrick.station.machine.block_devices import BlockDevice
from unbrick.station.machine.firmware_entries import BootEntry
from unbrick.station.restart import (
    BOOT_NEXT,
    NONE,
    REMOVE_STICK,
    Restart,
    partitions_of,
    plan_restart,
    take_boot_next,
    wait_for_removal,
)

WINDOWS = BootEntry(0x10, "Windows Boot Manager", True, "A", "\\EFI\\Microsoft\\Boot\\bootmgfw.efi")
STICK = BlockDevice("sdb", Path("/dev/sdb"), 1, outside=True)
DISC = BlockDevice("sr0", Path("/dev/sr0"), 1, outside=True, optical=True)


def test_windows_own_entry_is_the_way_back_whatever_is_plugged_in() -> None:
    assert plan_restart((WINDOWS,), frozenset(), frozenset(), [STICK]) == Restart(BOOT_NEXT, WINDOWS)


def test_without_an_entry_the_stick_has_to_go_and_without_a_stick_nothing() -> None:
    assert plan_restart((), frozenset(), frozenset(), [STICK]) == Restart(REMOVE_STICK)
    assert plan_restart((), frozenset(), frozenset(), []) == Restart(NONE)


def test_an_entry_of_a_disk_that_is_gone_is_no_way_back() -> None:
    assert plan_restart((WINDOWS,), frozenset("B"), frozenset("BC"), [STICK]) == Restart(REMOVE_STICK)
    other_disk = plan_restart((WINDOWS,), frozenset("B"), frozenset("AB"), [STICK])
    assert other_disk == Restart(BOOT_NEXT, WINDOWS), "its EFI partition may be on another disk"


def test_a_firmware_that_refuses_boot_next_has_the_stick_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: BootEntry) -> None:
        raise FailedError("the firmware does not take BootNext")

    monkeypatch.setattr(finish, "set_boot_next", refuse)
    monkeypatch.setattr(finish, "present_medium", lambda: (STICK,))

    restart, why = take_boot_next(Restart(BOOT_NEXT, WINDOWS))

    assert restart == Restart(REMOVE_STICK)
    assert why is not None


def test_the_stick_is_waited_for_and_a_disc_is_put_out_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [[STICK, DISC], [DISC], []]
    ejected: list[Path] = []
    slept: list[float] = []
    monkeypatch.setattr(finish, "_eject", ejected.append)

    wait_for_removal(lambda: looks.pop(0), slept.append)

    assert looks == []
    assert len(slept) == 2
    assert ejected == [Path("/dev/sr0")]


def test_the_partitions_of_a_disk_are_those_that_udev_has_read(tmp_path: Path) -> None:
    for name, number, guid in (("sda1", "8:1", "aa-1"), ("sdaa1", "8:17", "bb-1")):
        (tmp_path / "class/block" / name).mkdir(parents=True)
        (tmp_path / "class/block" / name / "dev").write_text(f"{number}\n")
        (tmp_path / f"b{number}").write_text(f"S:disk/x\nE:ID_PART_ENTRY_UUID={guid}\nE:ID_FS_TYPE=vfat\n")
    devices = (
        BlockDevice("sda", Path("/dev/sda"), 1, partitions=("sda1", "sda2")),
        BlockDevice("sdaa", Path("/dev/sdaa"), 1, partitions=("sdaa1",)),
    )

    assert partitions_of(["/dev/sda"], devices, sysfs=tmp_path, udev=tmp_path) == {"AA-1"}
