"""A person sits at the machine: a stick without settings asks, and a recovery password is typed."""

from __future__ import annotations

from pathlib import Path

from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    boot_disk,
    look,
    make_machine,
    stick,
    wait_for_windows,
)
from support.boot_medium import Medium
from support.drilled import Drills
from support.machine_hands import photograph

from unbrick.drill.machine.shape import Bus


def test_a_recovery_password_is_typed(
    medium: Medium, drills: Drills, tmp_path: Path, photographs: Path
) -> None:
    disk = boot_disk(drills, "xts-128", tmp_path, medium.loader)
    ((_, password),) = disk.drilled.passwords().items()
    image = medium.stick(tmp_path / "stick.img")
    machine = make_machine(tmp_path / "machine", [(disk, Bus.NVME)], medium=stick(image))
    with machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("unbrick: asks recovery-password", seconds=REPAIR_SECONDS)
        look(running, photographs / "photograph-key.png")
        running.type(f"{password}\n")
        running.wait_for("unbrick: asks Repair it?", seconds=REPAIR_SECONDS)
        look(running, photographs / "photograph-question.png")
        running.press("1")
        running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        photograph(running, tmp_path / "done.png")
        running.press("ret")
        wait_for_windows(running)
    assert machine.complaints() == []
