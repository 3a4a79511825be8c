"""Machines that start in other ways than from a stick with Secure Boot on: from a disc, by a legacy BIOS."""

from __future__ import annotations

import subprocess
from pathlib import Path

from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    boot_disk,
    look,
    make_machine,
    stick,
    wait_for_windows,
    wait_for_windows_by_bios,
)
from support.boot_medium import Medium, files_on
from support.drilled import Drills
from support.host_tally import HostTally
from support.machine_hands import WatchedMachine, photograph, unplug
from support.program import run_program
from support.tally_server import stored_ids

from unbrick.drill.machine.shape import Bus, Drive, Firmware, Network

_MOST_PAGES = 12


def test_a_disc_in_a_healthy_machine(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path, photographs: Path
) -> None:
    """No network, no stick for the report: it is photographed, and counted from the photographs."""
    disk = boot_disk(drills, "healthy", tmp_path, medium.loader)
    image = medium.with_settings(tally.settings(tmp_path / "settings"), tmp_path / "own.iso")
    disc = Drive(image, Bus.CD, "disc", read_only=True)
    machine = make_machine(tmp_path / "machine", [(disk, Bus.NVME)], medium=disc)
    digest = disk.drilled.digest()
    with machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("status=healthy reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        carried = _photographed_codes(running, photographs)
        running.press("ret")
        running.wait_for("unbrick: restarting into Windows (BootNext 0010)", seconds=REPAIR_SECONDS)
        wait_for_windows(running)
    assert disk.drilled.digest() == digest
    (tmp_path / "carried.txt").write_text(carried)
    ended = run_program("tally", "import", tally.folder, tmp_path / "carried.txt")
    assert ended.code == 0, ended.said
    assert tally.counted() == {disk.drilled.truth.name: "healthy"}


def _photographed_codes(machine: WatchedMachine, folder: Path) -> str:
    """The text of every code on the last screen, a line each, as a telephone reads it off the photographs."""
    lines: list[str] = []
    look(machine, folder / "photograph-report.png")
    for number in range(1, _MOST_PAGES + 1):
        machine.press("right")
        image = folder / f"photograph-code-{number}.png"
        look(machine, image)
        read = subprocess.run(
            ["zbarimg", "--quiet", "--raw", "-Sdisable", "-Sqrcode.enable", image],
            capture_output=True,
            text=True,
            timeout=60,
        )
        if read.returncode != 0:  # the page behind the last code
            break
        lines.append(read.stdout.removesuffix("\n"))
    return "".join(f"{line}\n" for line in lines)


def test_a_legacy_bios_and_a_tally_that_does_not_answer(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path
) -> None:
    """Dialling it ends in nothing. The stick is asked for, and carries the reports: they are counted once."""
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    settings = tally.settings(tmp_path / "settings")
    image = medium.stick(tmp_path / "stick.img", "--station", settings, "--site-key", medium.site_key)
    machine = make_machine(
        tmp_path / "machine",
        [(disk, Bus.AHCI)],
        medium=stick(image),
        firmware=Firmware.BIOS,
        network=Network(model="e1000"),
    )
    with tally.silent(), machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: report kept", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: waiting for the stick to be removed", seconds=REPAIR_SECONDS)
        photograph(running, tmp_path / "waits.png")
        unplug(running, "stick")
        running.wait_for("unbrick: restarting", seconds=REPAIR_SECONDS)
        wait_for_windows_by_bios(running)
    assert disk.drilled.complaints(repaired=True) == ()
    _carry_to_the_tally(image, tally, tmp_path / "carried")
    assert tally.counted() == {disk.drilled.truth.name: "repaired"}


def _carry_to_the_tally(image: Path, tally: HostTally, folder: Path) -> None:
    """As a file, which is read in twice; sending from there is proved in other tests."""
    for name, data in files_on(image).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    settings, exported = folder / "unbrick.yaml", folder / "reports.jsonl"
    (folder / "station").chmod(0o600)
    ended = run_program("outbox", "export", exported, "--station", settings)
    assert ended.code == 0, ended.said
    ended = run_program("tally", "import", tally.folder, exported)
    assert ended.code == 0, ended.said
    events = stored_ids(tally.folder)
    assert events
    assert run_program("tally", "import", tally.folder, exported).code == 0
    assert stored_ids(tally.folder) == events
