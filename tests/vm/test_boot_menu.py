"""The first seconds of the medium: to who presses keys nothing is given away, and nothing is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.boot_machine import BOOT_SECONDS, FIRST, REPAIR_SECONDS, Machine, boot_disk, make_machine, stick
from support.boot_medium import Medium
from support.drilled import Drills
from support.machine_hands import WatchedMachine, has_reset, photograph, press_together

from unbrick.drill.machine.shape import Bus

_ANSWER_SECONDS = 60.0
_ENTRY = b"Bring this machine back"
_REFUSED = b"This menu cannot be changed at the machine"
_PROMPTS = (b"Enter username", b"Enter password", b"grub>", b"`e' to edit")
_CHORDS = (
    ("ctrl", "backslash"),
    ("ctrl", "c"),
    ("ctrl", "z"),
    ("ctrl", "s"),
    ("alt", "sysrq", "k"),
    ("alt", "sysrq", "b"),
    ("ctrl", "alt", "delete"),
)


@pytest.fixture
def machine(medium: Medium, drills: Drills, tmp_path: Path) -> Machine:
    """A healthy one, with the medium in it."""
    disk = boot_disk(drills, "healthy", tmp_path, medium.loader)
    return make_machine(tmp_path / "machine", [(disk, Bus.AHCI)], medium=stick(medium.image))


def test_nobody_gets_a_prompt_and_the_menu_stays(machine: Machine) -> None:
    """With a prompt, `rdinit=/bin/sh` would be a shell, on a medium whose site allows none."""
    log = machine.folder / "serial.log"
    with machine.on(until=None) as running:

        def is_open() -> bool:
            running.press("f4")  # the menu is hidden, and waits for a second
            return _ENTRY in log.read_bytes()

        _wait(running, is_open, BOOT_SECONDS)
        for _ in range(3):  # there is nothing behind the menu
            running.press("esc")
        for number, key in enumerate(("e", "c"), 1):  # to edit an entry, to get a prompt
            running.press(key)
            _wait(running, lambda: log.read_bytes().count(_REFUSED) >= number, _ANSWER_SECONDS)  # noqa: B023
            running.press("esc")
            time.sleep(1)
        running.press("esc")
        said = log.read_bytes()
        assert not [prompt for prompt in _PROMPTS if prompt in said]
        running.press("ret")
        running.wait_for(FIRST, seconds=BOOT_SECONDS)


def _wait(running: WatchedMachine, condition: Callable[[], bool], seconds: float) -> None:
    running.wait_until(condition, seconds=seconds, what="GRUB answers")


def test_what_is_pressed_while_it_starts_stops_nothing(machine: Machine) -> None:
    machine = replace(machine, shape=replace(machine.shape, usb_keyboard=False))
    with machine.on() as running:

        def is_under_way() -> bool:
            for chord in _CHORDS:
                press_together(running, *chord)
            return running.said("unbrick: works by")

        running.wait_until(is_under_way, seconds=BOOT_SECONDS, what="the station works")
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        assert not has_reset(running)
        assert not running.said("unbrick: stopped")


@pytest.mark.parametrize("memory_mib", [256, 384])
def test_a_machine_with_too_little_memory_is_told_so(
    medium: Medium, drills: Drills, tmp_path: Path, memory_mib: int
) -> None:
    disk = boot_disk(drills, "healthy", tmp_path, medium.loader)
    machine = make_machine(
        tmp_path / "machine", [(disk, Bus.AHCI)], medium=stick(medium.image), memory_mib=memory_mib
    )
    with machine.on(until=None) as running:
        running.wait_for(f"This computer has {memory_mib} MB of memory.", seconds=BOOT_SECONDS)
        running.wait_for("Press Esc for the menu.", seconds=_ANSWER_SECONDS)
        photograph(running, tmp_path / "refused.png")
