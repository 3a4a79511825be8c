"""The last step of the manual's page on a playbook of one's own: a stick with it, signed, does the visit."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    make_machine,
    stick,
    wait_for_windows,
    with_stand_in,
)
from support.boot_medium import Medium
from support.drilled import drilled_in
from support.program import run_program
from support.walkthrough import save_files

from unbrick.drill.machine.shape import Bus

PLAYBOOK = "larkspur-2025-03.yaml"


def test_a_sites_own_playbook_repairs_by_the_sites_signature_and_a_workbench_puts_it_back(
    medium: Medium, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    save_files("own-playbook", site)
    settings = site / "stick" / "unbrick.yaml"
    (settings.parent / "playbooks").mkdir()
    shutil.copy(site / PLAYBOOK, settings.parent / "playbooks" / PLAYBOOK)
    options = ("--playbook", site / PLAYBOOK, "--size", "160M", "--files", "30")
    assert run_program("drill", "new", tmp_path / "practice", *options).code == 0
    (drilled,) = drilled_in(tmp_path / "practice")
    disk = with_stand_in(drilled, tmp_path, medium.loader)
    image = medium.stick(tmp_path / "stick.img", "--station", settings, "--site-key", medium.site_key)
    machine = make_machine(tmp_path / "machine", [(disk, Bus.AHCI)], medium=stick(image))
    with machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        wait_for_windows(running)
    assert machine.complaints() == []

    without = run_program("undo", drilled.image, "--yes", "--json")
    assert (without.document["reason"], without.code) == ("unknown-playbook", 5)
    undone = run_program("undo", drilled.image, "--station", settings, "--yes", "--json")
    assert (undone.document["status"], undone.code) == ("undone", 0)
    assert disk.drilled.complaints(repaired=False) == ()
