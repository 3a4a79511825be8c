"""What a site signed is what happens, on every boot, however late the stick shows itself.

The settings that are built into the medium repair without asking; those on the stick ask.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    BootDisk,
    Machine,
    boot_disk,
    make_machine,
    stick,
)
from support.boot_medium import Medium
from support.drilled import Drills
from support.machine_hands import WatchedMachine, cut_power, photograph, plug_in, slow_down, unplug

from unbrick.drill.machine.shape import Bus, DirectStart, Firmware

_BOOTS = 10
_LINE = "quiet console=ttyS0,115200 console=tty0"


@pytest.fixture
def disk(medium: Medium, drills: Drills, tmp_path: Path) -> BootDisk:
    """A disk that waits for its repair."""
    return boot_disk(drills, "plain", tmp_path, medium.loader)


@pytest.fixture
def image(medium: Medium, tmp_path: Path) -> Path:
    """A stick that asks, by signed settings, on a medium that would not."""
    built_in = medium.with_settings(_settings(tmp_path / "built-in", "unattended"), tmp_path / "own.iso")
    signed = _settings(tmp_path / "signed", "guided")
    options = ("--station", signed, "--site-key", medium.site_key)
    return medium.stick(tmp_path / "stick.img", *options, of=built_in)


def _settings(folder: Path, mode: str) -> Path:
    folder.mkdir()
    (folder / "unbrick.yaml").write_text(f"mode: {mode}\nfinish: restart\nsite: st-marys\n")
    return folder / "unbrick.yaml"


@pytest.mark.alone
def test_ten_boots_in_a_row_each_read_their_settings(disk: BootDisk, image: Path, tmp_path: Path) -> None:
    """On a computer at rest: a busy one gives a stick the time to be there before it is looked for."""
    digest = disk.drilled.digest()
    for number in range(_BOOTS):
        clock = "2009-01-01T00:00:00" if number % 2 else None
        machine = _machine(tmp_path / f"boot-{number}", disk, image, clock=clock)
        with machine.on() as running:
            running.wait_for("unbrick: the boot menu has seen the stick", seconds=BOOT_SECONDS)
            _expect_signed(running)
            cut_power(running)
    assert disk.drilled.digest() == digest


def _machine(folder: Path, disk: BootDisk, image: Path, clock: str | None = None) -> Machine:
    return make_machine(folder, [(disk, Bus.AHCI)], medium=stick(image), clock=clock)


def _expect_signed(running: WatchedMachine) -> None:
    """Wait for the line on the settings, whichever they are."""
    line = running.wait_for("unbrick: works by", seconds=BOOT_SECONDS)
    assert "signed settings on the stick" in line.text, line.text


@pytest.mark.parametrize("clock", [None, "2009-01-01T00:00:00"], ids=["now", "2009"])
def test_a_slow_stick_whose_partitions_come_late(
    medium: Medium, disk: BootDisk, tmp_path: Path, clock: str | None
) -> None:
    """Without a word of the boot menu, as from the network: what Linux sees has to be enough."""
    signed = _settings(tmp_path / "signed", "guided")
    image = medium.stick(tmp_path / "stick.img", "--station", signed, "--site-key", medium.site_key)
    machine = make_machine(
        tmp_path / "machine",
        [(disk, Bus.AHCI)],
        medium=stick(image),
        firmware=Firmware.BIOS,
        clock=clock,
        direct=DirectStart(medium.kernel, medium.initrd, _LINE),
    )
    with machine.on() as running:
        slow_down(running, "stick", 1)
        _expect_signed(running)


def test_a_stick_that_shows_itself_late_is_waited_for(disk: BootDisk, image: Path, tmp_path: Path) -> None:
    with _machine(tmp_path / "machine", disk, image).on() as running:
        unplug(running, "stick")
        running.wait_for("unbrick: waits for the stick", seconds=BOOT_SECONDS)
        plug_in(running, "again", image)
        _expect_signed(running)
        running.wait_for("unbrick: asks Repair it?", seconds=REPAIR_SECONDS)


def test_a_stick_that_is_pulled_too_early_is_missed_and_nothing_is_repaired(
    disk: BootDisk, image: Path, tmp_path: Path
) -> None:
    digest = disk.drilled.digest()
    with _machine(tmp_path / "machine", disk, image).on() as running:
        unplug(running, "stick")
        running.wait_for(
            "note: only looks: the settings on the stick could not be read", seconds=BOOT_SECONDS
        )
        running.wait_for("status=found", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end amber", seconds=REPAIR_SECONDS)
        photograph(running, tmp_path / "end.png")
    assert disk.drilled.digest() == digest
