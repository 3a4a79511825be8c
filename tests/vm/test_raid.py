"""A mirror of Intel's firmware RAID (IMSM): repaired as the array, never one of its members."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from support.boot_machine import (
    BOOT_SECONDS,
    REPAIR_SECONDS,
    RUNNER,
    BootDisk,
    boot_disk,
    make_machine,
    stick,
    wait_for_windows,
)
from support.boot_medium import Medium
from support.drilled import Drills
from support.host_tally import HostTally
from support.initramfs import with_program
from support.machine_hands import WatchedMachine, wait_for_power_off

from unbrick.drill.machine.shape import Bus, DirectStart, Drive, Firmware, MachineShape, Network
from unbrick.drill.machine.virtual_machine import running
from unbrick.drill.options import MIB

_ARRAY_BYTES = 160 * MIB
_MEMBER_BYTES = 176 * MIB
_MAKE_ARRAY = f"""\
#!/bin/sh
export PATH=/usr/sbin:/usr/bin IMSM_NO_PLATFORM=1
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev; mount -t tmpfs run /run
exec >/dev/ttyS0 2>&1
ln -s ../bin/kmod /usr/sbin/modprobe
modprobe -a ahci sd_mod virtio_pci virtio_blk md_mod raid1
for turn in 1 2 3 4 5 6 7 8 9 10; do [ -e /dev/vda -a -e /dev/sdb ] || sleep 1; done
mdadm --create /dev/md/imsm0 --metadata=imsm --raid-devices=2 --run /dev/sda /dev/sdb
mdadm --create /dev/md/mirror --level=1 --raid-devices=2 --run --assume-clean \\
    --size={_ARRAY_BYTES // 1024}K /dev/md/imsm0
[ -d /run/mdadm ] || mkdir -p /run/mdadm
mdmon --all
cat /proc/mdstat
array=$(readlink -f /dev/md/mirror)
cat /dev/vda >"$array" && sync && blockdev --getsize64 "$array" && echo "array made"
mdadm --stop "$array"
mdadm --stop --scan
sync
poweroff -f
"""


def test_a_mirror_is_repaired_as_one(
    medium: Medium, drills: Drills, tally: HostTally, tmp_path: Path
) -> None:
    disk = boot_disk(drills, "plain", tmp_path, medium.loader)
    members = [_make_member(tmp_path / "disk" / f"member-{number}.img") for number in (1, 2)]
    _make_array(medium, disk, members, tmp_path / "making")
    first, second = (_as_boot_disk(disk, member) for member in members)
    assert first.drilled.complaints(repaired=False) == ()
    image = medium.with_settings(tally.settings(tmp_path / "settings"), tmp_path / "own.iso")
    machine = make_machine(
        tmp_path / "machine",
        [(first, Bus.AHCI), (second, Bus.AHCI)],
        medium=stick(image),
        network=Network(),
    )
    with tally.served(), machine.on() as on:
        on.wait_for("unbrick: station started", seconds=BOOT_SECONDS)
        line = on.wait_for("status=repaired reason=-", seconds=REPAIR_SECONDS)
        assert "/dev/md" in line.text or " md" in line.text
        wait_for_windows(on)
    assert machine.complaints() == []
    assert _content(members[0]) == _content(members[1])
    assert tally.counted() == {disk.drilled.truth.name: "repaired"}


def _make_member(image: Path) -> Path:
    with image.open("xb") as stream:
        stream.truncate(_MEMBER_BYTES)
    return image


def _make_array(medium: Medium, disk: BootDisk, members: list[Path], folder: Path) -> None:
    """In a virtual machine, because the computer that tests may have no RAID in its kernel."""
    folder.mkdir()
    initrd = with_program(medium.initrd, "make-array", _MAKE_ARRAY, folder / "initrd.img")
    # A drive's name is its serial number here, and by that the array knows its members again.
    halves = tuple(Drive(image, Bus.AHCI, f"disk{number}") for number, image in enumerate(members))
    shape = MachineShape(
        Firmware.BIOS,
        (*halves, Drive(disk.image, Bus.VIRTIO, "whole")),
        direct=DirectStart(medium.kernel, initrd, "quiet console=ttyS0 rdinit=/make-array"),
    )
    with running(shape, folder, RUNNER) as started:
        maker = WatchedMachine(started)
        maker.wait_for("array made", seconds=BOOT_SECONDS)
        wait_for_power_off(maker, seconds=60)


def _as_boot_disk(disk: BootDisk, member: Path) -> BootDisk:
    return replace(disk, drilled=replace(disk.drilled, image=member))


def _content(member: Path) -> bytes:
    with member.open("rb") as stream:
        return stream.read(_ARRAY_BYTES)
