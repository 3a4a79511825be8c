"""A machine is switched on with a stick in it, Secure Boot on, and nobody touches it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    SHIM,
    BootDisk,
    Machine,
    boot_disk,
    changed,
    look,
    make_machine,
    stick,
    wait_for_windows,
)
from support.boot_medium import Medium, files_on
from support.drilled import Drills
from support.host_tally import HostTally
from support.machine_hands import cut_power, photograph, plug_in, unplug, wait_for_power_off
from support.power_cut import CutState, different, lossy_states, states_in_order
from support.site_network import SERVER
from support.tagged_network import MACHINE, VLAN, tagged_network
from support.write_log import Write, read_log, replay

from unbrick.drill.machine.firmware_variables import FirmwareVariables
from unbrick.drill.machine.shape import Bus, Network
from unbrick.drill.options import MIB

_OF_THE_FIRMWARE = {
    "eb704011-1402-11d3-8e77-00a0c969723b:MTC",  # EDK II's count of starts
    "fab7e9e1-39dd-4f2b-8408-e20e906cb6de:HDDP",  # EDK II's memory of where a partition was found
}
"""What the firmware counts and remembers by itself, whatever is started."""


def _signed_stick(medium: Medium, settings: Path, image: Path) -> Path:
    return medium.stick(image, "--station", settings, "--site-key", medium.site_key)


def test_a_plain_disk_is_repaired_even_after_a_power_cut(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path
) -> None:
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    pristine, log = tmp_path / "pristine.img", tmp_path / "write.log"
    subprocess.run(["cp", "--sparse=always", disk.image, pristine], check=True)
    image = _signed_stick(medium, tally.settings(tmp_path / "settings"), tmp_path / "stick.img")
    machine = _machine(tmp_path / "first", disk, image, clock="2009-01-01T00:00:00", write_log=log)
    with tally.served():
        _bring_back(machine, disk)
        assert tally.counted() == {disk.drilled.truth.name: "repaired"}
        for number, state in enumerate(_two_states(read_log(log))):
            replay(pristine, disk.image, state.writes)
            print(state.name)
            _bring_back(_machine(tmp_path / f"cut-{number}", disk, image), disk)
    assert tally.counted() == {disk.drilled.truth.name: "repaired"}


def _machine(folder: Path, disk: BootDisk, image: Path, **properties: Any) -> Machine:
    return make_machine(folder, [(disk, Bus.AHCI)], medium=stick(image), network=Network(), **properties)


def _bring_back(machine: Machine, disk: BootDisk) -> None:
    """Switch it on until Windows starts; of the firmware nothing but BootNext was changed meanwhile."""
    with machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        at_start = machine.variables()
        running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        photograph(running, machine.folder / "end.png")
        running.wait_for("unbrick: restarting into Windows (BootNext 0010)", seconds=REPAIR_SECONDS)
        wait_for_windows(running)
    assert disk.drilled.complaints(repaired=True) == ()
    # The firmware takes BootNext away when it heeds it.
    assert changed(at_start, machine.variables()) <= _OF_THE_FIRMWARE


def _two_states(writes: tuple[Write, ...]) -> list[CutState]:
    """In the middle of the writes: a disk that wrote in order, and one that lost some of the latest."""
    in_order = list(states_in_order(writes))
    lossy = different(lossy_states(writes, "boot", torn=False), 1, set())
    return [in_order[len(in_order) // 2], *lossy]


def test_shim_itself_raises_the_sbat_level_and_a_site_without_a_tally_waits_for_none(
    medium: Medium, drills: Drills, tmp_path: Path
) -> None:
    """A firmware that never saw a shim; what the manual says of older Linux sticks is read here."""
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    (tmp_path / "settings").mkdir()
    settings = tmp_path / "settings" / "unbrick.yaml"
    settings.write_text("mode: unattended\nfinish: restart\nsite: st-marys\n")
    image = _signed_stick(medium, settings, tmp_path / "stick.img")
    machine = _machine(tmp_path / "machine", disk, image)
    with machine.on() as running:
        running.wait_for("unbrick: first program started", seconds=BOOT_SECONDS)
        cut_power(running)
    settled = machine.variables()
    level = FirmwareVariables(machine.folder / "variables.fd").get("SbatLevel", SHIM)
    assert level == b"sbat,1,2025021800\nshim,4\ngrub,5\n"
    _bring_back(machine, disk)
    assert changed(settled, machine.variables()) <= _OF_THE_FIRMWARE
    assert any(name.startswith("outbox/2") for name in files_on(image))


def test_two_disks_of_one_machine(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path, photographs: Path
) -> None:
    """A plain one, and one with BitLocker whose recovery password is on the stick; the clock is ahead."""
    plain = boot_disk(drills, "crashed", tmp_path / "plain", medium.loader)
    locked = boot_disk(drills, "xts-128", tmp_path / "locked", medium.loader)
    settings = tally.settings(tmp_path / "settings", keys=locked.drilled.keys)
    image = _signed_stick(medium, settings, tmp_path / "stick.img")
    machine = make_machine(
        tmp_path / "machine",
        [(locked, Bus.NVME), (plain, Bus.AHCI)],
        medium=stick(image),
        network=Network(),
        clock="2038-02-01T00:00:00",
    )
    with tally.served(), machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        for _ in machine.disks:
            running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        photograph(running, photographs / "photograph-done.png")
        wait_for_windows(running)
    assert machine.complaints() == []
    assert set(tally.counted().values()) == {"repaired"}


def test_without_a_key_nothing_is_written_and_a_late_stick_has_it(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path, photographs: Path
) -> None:
    """And without a network the reports are on the stick. The second disk is healthy, and said to be.

    The site allows a shell: it opens when the disks are closed, and that is an event.
    """
    locked = boot_disk(drills, "xts-256", tmp_path / "locked", medium.loader)
    healthy = boot_disk(drills, "healthy", tmp_path / "healthy", medium.loader)
    settings = tally.settings(tmp_path / "settings", shell="true", finish="wait")
    image = _signed_stick(medium, settings, tmp_path / "stick.img")
    drives = [(locked, Bus.NVME), (healthy, Bus.VIRTIO)]
    machine = make_machine(tmp_path / "machine", drives, medium=stick(image))
    digests = [disk.drilled.digest() for disk in machine.disks]
    with machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("unbrick: end amber", seconds=REPAIR_SECONDS)
        assert running.said("status=needs-key reason=key-missing")
        assert running.said("status=healthy reason=-")
        look(running, photographs / "photograph-key-needed.png")
        assert [disk.drilled.digest() for disk in machine.disks] == digests
        plug_in(running, "late", _stick_with_keys(locked.drilled.keys, tmp_path / "late.img"))
        running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end green", seconds=REPAIR_SECONDS)
        look(running, tmp_path / "green.png")
        running.press("ret")
        running.wait_for("unbrick: asks What now?", seconds=REPAIR_SECONDS)
        look(running, tmp_path / "shell.png")
        running.press("2")
        running.wait_for("unbrick: shell opened", seconds=REPAIR_SECONDS)
        running.type("poweroff -f\n")
        wait_for_power_off(running, seconds=REPAIR_SECONDS)
    assert locked.drilled.complaints(repaired=True) == ()
    assert healthy.drilled.digest() == digests[1]
    assert any(b"shell-opened" in data for data in files_on(image).values())


def _stick_with_keys(keys: Path, image: Path) -> Path:
    """As somebody makes one at a PC: a file system with the name, and a file on it."""
    with image.open("xb") as stream:
        stream.truncate(64 * MIB)
    subprocess.run(["mkfs.vfat", "-n", "UNBRICK", image], check=True, capture_output=True, timeout=60)
    subprocess.run(["mcopy", "-i", image, keys, "::/keys.csv"], check=True, timeout=60)
    return image


def test_a_pulled_stick_is_not_missed(medium: Medium, drills: Drills, tmp_path: Path) -> None:
    """In a network that is a VLAN where nobody gives addresses: the settings say which."""
    disk = boot_disk(drills, "dirty", tmp_path, medium.loader)
    tally = HostTally(tmp_path / "tally", host=SERVER)
    place = f"{{address: {MACHINE}, vlan: {VLAN}}}"
    settings = tally.settings(tmp_path / "settings", network=place)
    image = medium.with_settings(settings, tmp_path / "own.iso")
    with tagged_network() as site, tally.served(SERVER, inside=site.server.inside):
        network = Network(site.connection)
        machine = make_machine(
            tmp_path / "machine", [(disk, Bus.VIRTIO)], medium=stick(image), network=network
        )
        with machine.on(site.descriptors) as running:
            running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
            unplug(running, "stick")
            running.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
            running.wait_for("unbrick: report sent", seconds=REPAIR_SECONDS)
            wait_for_windows(running)
    assert machine.complaints() == []
    assert tally.counted() == {disk.drilled.truth.name: "repaired"}


def test_unsigned_settings_only_look(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path
) -> None:
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    image = medium.stick(tmp_path / "stick.img", "--station", tally.settings(tmp_path / "settings"))
    machine = make_machine(tmp_path / "machine", [(disk, Bus.AHCI)], medium=stick(image), network=Network())
    digest = disk.drilled.digest()
    with tally.served(), machine.on() as running:
        running.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        running.wait_for("status=found", seconds=REPAIR_SECONDS)
        running.wait_for("unbrick: end amber", seconds=REPAIR_SECONDS)
        photograph(running, tmp_path / "end.png")
    assert disk.drilled.digest() == digest
    assert tally.counted() == {}
