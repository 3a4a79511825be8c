"""The menu of the medium, before somebody who tries what it gives away."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from support.boot_machine import BOOT_SECONDS, boot_disk, make_machine, stick
from support.boot_medium import Medium
from support.drilled import Drills

from unbrick.drill.virtual_machine import VirtualMachine
from unbrick.drill.virtual_machine_shape import Bus

_ANSWER_SECONDS = 60.0
_ENTRY, _ASKS = b"Bring this machine back", b"Enter username:"


def test_nobody_gets_a_prompt(medium: Medium, drills: Drills, tmp_path: Path) -> None:
    """With one, `rdinit=/bin/sh` would be a shell, on a medium whose site allows none."""
    disk = boot_disk(drills, "healthy", tmp_path, medium.loader)
    machine = make_machine(tmp_path / "machine", [(disk, Bus.AHCI)], medium=stick(medium.image))
    log = machine.folder / "serial.log"
    with machine.on(until=None) as running:

        def is_open() -> bool:
            running.press("f4")  # the menu is hidden, and waits for a second
            return _ENTRY in log.read_bytes()

        _wait(running, is_open, BOOT_SECONDS)
        # To edit an entry, to get a prompt, and behind the menu.
        for number, key in enumerate(("e", "c", "esc"), 1):
            running.press(key)
            _wait(running, _counts(log, number), _ANSWER_SECONDS)
            running.press("esc")
            time.sleep(1)


def _counts(log: Path, number: int) -> Callable[[], bool]:
    """Whether a name was asked for so many times by now."""
    return lambda: log.read_bytes().count(_ASKS) == number


def _wait(running: VirtualMachine, condition: Callable[[], bool], seconds: float) -> None:
    running.wait_until(condition, seconds=seconds, what="GRUB answers")
