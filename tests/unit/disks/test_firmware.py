"""A machine's firmware identifiers are taken for the disks built into it, and for no others."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from unbrick.disks.firmware import is_built_in, read_firmware
from unbrick.model import Machine

UUID = "4C4C4544-0051-3510-8052-B4C04F4A3132"
BUILT_IN = (
    "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda",
    "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda/sda3",
    "pci0000:00/0000:00:1d.0/0000:3d:00.0/nvme/nvme0/nvme0n1",
    "pci0000:00/0000:00:04.0/virtio1/block/vda",
    "platform/80860F14:00/mmc_host/mmc0/mmc0:0001/block/mmcblk0",
)
FOREIGN = (
    "virtual/block/loop0",
    "virtual/block/nbd0",
    "virtual/block/dm-0",
    "virtual/block/md126",
    "pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block/sdb",
    "platform/host8/session1/target8:0:0/8:0:0:1/block/sdc",
    "virtual/nvme-fabrics/ctl/nvme1/nvme1n1",
)


def block_folder(folder: Path, place: str) -> Path:
    target = folder / "devices" / place
    target.mkdir(parents=True)
    (folder / "block").mkdir()
    (folder / "block" / "259:1").symlink_to(target)
    return folder / "block"


@pytest.mark.parametrize("place", BUILT_IN)
def test_a_disk_inside_the_machine_is_built_in(tmp_path: Path, place: str) -> None:
    assert is_built_in("259:1", block=block_folder(tmp_path, place))


@pytest.mark.parametrize("place", FOREIGN)
def test_a_disk_from_outside_is_not(tmp_path: Path, place: str) -> None:
    assert not is_built_in("259:1", block=block_folder(tmp_path, place))
    assert not is_built_in("8:0", block=tmp_path / "block")


@pytest.mark.parametrize(("word", "built_in"), [("removable", False), ("fixed", True), ("unknown", True)])
def test_a_disk_behind_a_port_to_the_outside_is_not_built_in(
    tmp_path: Path, word: str, built_in: bool
) -> None:
    block = block_folder(tmp_path, "pci0000:00/0000:00:07.0/0000:2c:00.0/nvme/nvme1/nvme1n1")
    dock = tmp_path / "devices/pci0000:00/0000:00:07.0/0000:2c:00.0"
    (dock / "removable").write_text(f"{word}\n")
    (dock / "nvme/nvme1/nvme1n1/removable").write_text("0\n")
    assert is_built_in("259:1", block=block) is built_in


@pytest.mark.parametrize(("transport", "built_in"), [("pcie", True), ("tcp", False), (None, False)])
def test_an_nvme_disk_with_paths_is_judged_by_its_controllers(
    tmp_path: Path, transport: str | None, built_in: bool
) -> None:
    block = block_folder(tmp_path, "virtual/nvme-subsystem/nvme-subsys0/nvme0n1")
    controller = tmp_path / "devices/virtual/nvme-subsystem/nvme-subsys0/nvme0"
    if transport:
        controller.mkdir()
        (controller / "transport").write_text(f"{transport}\n")
    assert is_built_in("259:1", block=block) is built_in


def dmi_folder(folder: Path, **strings: str) -> Path:
    (folder / "dmi").mkdir()
    for name, text in strings.items():
        (folder / "dmi" / name).write_text(f"{text}\n")
    return folder / "dmi"


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """A block device's node with the number 259:1; nothing is behind it, and nobody opens it."""
    node = tmp_path / "disk"
    os.mknod(node, stat.S_IFBLK | 0o600, os.makedev(259, 1))
    return node


def test_a_built_in_disk_names_its_machine(tmp_path: Path, device: Path) -> None:
    dmi = dmi_folder(tmp_path, product_uuid=UUID.lower(), product_serial="5CD1234XYZ", board_serial="B")
    block = block_folder(tmp_path, BUILT_IN[0])
    assert read_firmware(device, dmi=dmi, block=block) == Machine(UUID, "5CD1234XYZ")


def test_a_vendor_s_fillers_are_passed_over(tmp_path: Path, device: Path) -> None:
    dmi = dmi_folder(
        tmp_path, product_uuid="0" * 32, product_serial="To be filled by O.E.M.", board_serial="B7X"
    )
    block = block_folder(tmp_path, BUILT_IN[0])
    assert read_firmware(device, dmi=dmi, block=block) == Machine(serial="B7X")


def test_what_is_not_built_in_names_nobody(tmp_path: Path, device: Path) -> None:
    dmi = dmi_folder(tmp_path, product_uuid=UUID)
    block = block_folder(tmp_path, FOREIGN[0])
    image = tmp_path / "machine.img"
    image.touch()
    for disk in (device, image, tmp_path / "missing", Path("/dev/null")):
        assert read_firmware(disk, dmi=dmi, block=block) == Machine()


def test_a_machine_without_such_strings_is_no_trouble(tmp_path: Path, device: Path) -> None:
    block = block_folder(tmp_path, BUILT_IN[0])
    assert read_firmware(device, dmi=tmp_path / "missing", block=block) == Machine()
    assert read_firmware(device, dmi=dmi_folder(tmp_path, product_uuid="x" * 2000), block=block) == Machine()
