"""Which disks a station works on: those inside the machine, arrays as arrays, no medium and no member."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from support.recorded_runner import RecordedRunner

from unbrick.processes.command import CommandError, Result
from unbrick.station import targets
from unbrick.station.machine.block_devices import BlockDevice, count_hidden_disks, list_block_devices
from unbrick.station.targets import (
    Target,
    assemble_arrays,
    choose_targets,
    close_arrays,
    find_left_alone,
    gather_targets,
)

PCI = "devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block"
NVME = "devices/pci0000:00/0000:00:03.0/nvme/nvme0"
USB = "devices/pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host6/target6:0:0/6:0:0:0/block"
VIRTUAL = "devices/virtual/block"


class Sysfs:
    """A /sys with the devices that a test puts there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._minor = 0
        for folder in ("block", "dev/block"):
            (root / folder).mkdir(parents=True)

    def add(self, name: str, place: str, *, parts: int = 0, removable: bool = False, **facts: str) -> Path:
        folder = self.root / place / name
        for path in (folder, *(folder / f"{name}{self._infix(name)}{n + 1}" for n in range(parts))):
            (path / "holders").mkdir(parents=True)
            number = f"8:{self._minor}"
            self._minor += 1
            (path / "dev").write_text(f"{number}\n")
            (self.root / "dev/block" / number).symlink_to(path)
            if path != folder:
                (path / "partition").write_text("1\n")
        (folder / "size").write_text("2048\n")
        (folder / "removable").write_text("1\n" if removable else "0\n")
        for key, value in facts.items():
            path = folder / key.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{value}\n")
        (self.root / "block" / name).symlink_to(folder)
        return folder

    @staticmethod
    def _infix(name: str) -> str:
        return "p" if name[-1].isdigit() else ""

    def hold(self, folder: Path, holder: str) -> None:
        (folder / "holders" / holder).mkdir()

    def devices(self) -> tuple[BlockDevice, ...]:
        return list_block_devices(self.root)


@pytest.fixture
def sysfs(tmp_path: Path) -> Sysfs:
    return Sysfs(tmp_path / "sys")


def _chosen(devices: tuple[BlockDevice, ...], medium: frozenset[str] = frozenset()) -> list[str]:
    return [str(target.path) for target in choose_targets(devices, medium=medium)]


def test_disks_inside_the_machine_are_worked_on_and_nothing_else(sysfs: Sysfs) -> None:
    sysfs.add("sda", PCI, parts=3)
    sysfs.add("nvme0n1", NVME, parts=2)
    sysfs.add("mmcblk0", "devices/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block", parts=1)
    sysfs.add("mmcblk0boot0", "devices/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001/block")
    sysfs.add("mmcblk1", "devices/pci0000:00/0000:00:1a.1/mmc_host/mmc1/mmc1:0001/block", device__type="SD")
    sysfs.add("sdb", USB, parts=2)
    sysfs.add("sdc", PCI.replace("ata1", "ata2"), removable=True)
    sysfs.add("sr0", PCI.replace("ata1", "ata3"))
    for name in ("loop0", "ram0", "zram0", "dm-0"):
        sysfs.add(name, VIRTUAL)
    empty = sysfs.add("sdd", PCI.replace("ata1", "ata4"))
    (empty / "size").write_text("0\n")

    assert _chosen(sysfs.devices()) == ["/dev/mmcblk0", "/dev/nvme0n1", "/dev/sda"]
    assert _chosen(sysfs.devices(), frozenset({"sda"})) == ["/dev/mmcblk0", "/dev/nvme0n1"]


def test_disks_that_are_plugged_in_are_left_alone_by_name(sysfs: Sysfs) -> None:
    sysfs.add("sda", USB, parts=2, device__model="PSSD T7\x1b[2J")
    (sysfs.root / "block/sda/size").write_text(f"{500 * 10**9 // 512}\n")
    card = "devices/pci0000:00/0000:00:1a.1/mmc_host/mmc1/mmc1:0001/block"
    sysfs.add("mmcblk1", card, device__type="SD", device__name="SC64G")
    sysfs.add("sdb", USB.replace("2-1", "2-2"))
    sysfs.add("sdc", PCI)
    sysfs.add("sr0", USB.replace("2-1", "2-3"))
    left = find_left_alone(sysfs.devices(), medium=frozenset({"sdb"}))
    assert left == ("mmcblk1 (SC64G, 1 MB)", "sda (PSSD T7?[2J, 500 GB)")


def test_an_array_is_worked_on_and_its_members_and_container_are_not(sysfs: Sysfs) -> None:
    for name in ("sda", "sdb"):
        member = sysfs.add(name, PCI.replace("ata1", f"ata-{name}"))
        sysfs.hold(member, "md126")
        sysfs.hold(member, "md127")
    part = sysfs.add("sdc", PCI.replace("ata1", "ata-c"), parts=1)
    sysfs.hold(part / "sdc1", "md0")
    volume = sysfs.add("md126", VIRTUAL, parts=2, md__array_state="read-auto", md__degraded="0")
    (volume / "md" / "metadata_version").write_text("external:/md127/0\n")
    sysfs.add("md127", VIRTUAL, md__array_state="active", md__metadata_version="external:imsm")
    sysfs.add("md5", VIRTUAL, md__array_state="inactive", md__level="raid1")

    assert _chosen(sysfs.devices()) == ["/dev/md126"]


def test_what_is_wrong_with_an_array_is_said(sysfs: Sysfs) -> None:
    sysfs.add(
        "md126",
        VIRTUAL,
        md__array_state="active",
        md__level="raid1",
        md__degraded="1",
        md__sync_action="resync",
    )

    (target,) = choose_targets(sysfs.devices())

    assert "missing or has failed" in target.notes[0]
    assert "rebuilding its disks" in target.notes[1]


def _disk(path: Path, *, member: bool) -> BlockDevice:
    data = bytearray(1 << 20)
    if member:
        data[-1024:-1000] = b"Intel Raid ISM Cfg Sig. "  # the last but one sector
    path.write_bytes(data)
    return BlockDevice(path.name, path, len(data))


MDADM = ("env", "IMSM_NO_PLATFORM=1", "mdadm")
NO_DEGRADED = (*MDADM, "--assemble", "--scan", "--no-degraded")
RUN = (*NO_DEGRADED[:-1], "--run")


def _runner(*answers: tuple[str, ...]) -> RecordedRunner:
    return RecordedRunner({argv: Result(argv, 0, b"", b"") for argv in answers})


def test_where_no_disk_is_a_member_no_program_is_started(tmp_path: Path) -> None:
    runner = _runner()
    disks = (_disk(tmp_path / "sda", member=False),)

    assert assemble_arrays(runner, find=lambda: disks, start_read_only=tmp_path / "ro") is None

    assert runner.asked == []


def test_an_array_is_put_together_read_only_until_the_first_write(tmp_path: Path) -> None:
    runner = _runner(NO_DEGRADED)
    (tmp_path / "ro").write_text("0")
    member = (_disk(tmp_path / "sda", member=True),)
    looks = [member, member, ()]

    told = assemble_arrays(runner, find=lambda: looks.pop(0), start_read_only=tmp_path / "ro")

    assert told is None
    assert runner.asked == [NO_DEGRADED]
    assert (tmp_path / "ro").read_text() == "1"


def test_an_array_that_lacks_a_disk_is_started_once_that_had_time_to_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_MEMBER_SECONDS", 0.0)
    linux, intel = ("--run", "/dev/md0"), ("--incremental", "--run", "/dev/md127")
    runner = _runner(NO_DEGRADED, (*MDADM, *linux), (*MDADM, *intel))
    free = (_disk(tmp_path / "sda", member=True),)
    held = (
        BlockDevice("md0", Path("/dev/md0"), 0, array="inactive"),
        BlockDevice("md126", Path("/dev/md126"), 1, array="read-auto"),
        BlockDevice("md127", Path("/dev/md127"), 0, array="inactive", container=True),
        BlockDevice("md128", Path("/dev/md128"), 0, array="inactive", container=True),
        BlockDevice("sda", Path("/dev/sda"), 1, held_by=("md127",)),
        BlockDevice("sdb", Path("/dev/sdb"), 1, held_by=("md126", "md128")),
    )
    looks = [free, free]

    told = assemble_arrays(
        runner, find=lambda: looks.pop(0) if looks else held, start_read_only=tmp_path / "ro"
    )

    assert told is None
    assert runner.asked == [NO_DEGRADED, (*MDADM, *linux), (*MDADM, *intel)]


def test_a_lone_member_is_tried_without_the_missing_and_then_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "_MEMBER_SECONDS", 0.0)
    runner = _runner(NO_DEGRADED, RUN)
    disks = (_disk(tmp_path / "sda", member=True),)

    assert assemble_arrays(runner, find=lambda: disks, start_read_only=tmp_path / "ro") is None

    assert runner.asked == [NO_DEGRADED, NO_DEGRADED, RUN]


@pytest.mark.parametrize("comes", range(6))
def test_a_member_that_comes_between_two_looks_is_never_taken_for_a_disk_of_its_own(
    tmp_path: Path, comes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "START_READ_ONLY", tmp_path / "ro")
    plain, member = _disk(tmp_path / "sda", member=False), _disk(tmp_path / "sdb", member=True)
    held = replace(member, held_by=("md0",))
    array = BlockDevice("md0", tmp_path / "md0", 1, array="read-auto")
    runner, looks = _runner(NO_DEGRADED), count()

    def find() -> list[BlockDevice]:
        if runner.asked:
            return [plain, held, array]
        return [plain, member] if next(looks) >= comes else [plain]

    found: list[Target] = []
    while len(found) < 2 and next(looks) < comes + 20:
        found = gather_targets(runner, pytest.fail, find=find, find_medium=lambda _: ())
        assert member.path not in {one.path for one in found}
    assert [one.path for one in found] == [plain.path, array.path]


def test_a_member_that_no_array_could_be_made_of_is_left_to_what_judges_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(targets, "START_READ_ONLY", tmp_path / "ro")
    monkeypatch.setattr(targets, "_MEMBER_SECONDS", 0.0)
    member = _disk(tmp_path / "sda", member=True)
    runner = _runner(NO_DEGRADED, RUN)
    found = gather_targets(runner, pytest.fail, find=lambda: [member], find_medium=lambda _: ())
    assert [one.path for one in found] == [member.path]
    assert runner.asked == [NO_DEGRADED, NO_DEGRADED, RUN]


def test_arrays_are_closed_before_their_container(tmp_path: Path) -> None:
    waits, stops = ("mdadm", "--wait-clean", "/dev/md126"), ("mdadm", "--stop", "/dev/md126")
    runner = _runner(waits, stops, ("mdadm", "--stop", "/dev/md127"))
    devices = (
        BlockDevice("md127", Path("/dev/md127"), 0, array="inactive", container=True),
        BlockDevice("md126", Path("/dev/md126"), 1, array="clean"),
        BlockDevice("sda", Path("/dev/sda"), 1),
    )

    assert close_arrays(devices, runner) == []

    assert runner.asked == [waits, stops, ("mdadm", "--stop", "/dev/md127")]


def test_an_array_that_does_not_close_is_told_of() -> None:
    class Failing(RecordedRunner):
        def run(self, argv, **_: object) -> Result:  # type: ignore[no-untyped-def]
            raise CommandError(argv, 1, b"busy")

    devices = (BlockDevice("md126", Path("/dev/md126"), 1, array="clean"),)
    (told,) = close_arrays(devices, Failing())
    assert "md126 was not closed" in told


def test_disks_that_a_sata_controller_hides_are_counted_as_its_driver_does(tmp_path: Path) -> None:
    assert count_hidden_disks(tmp_path) == 0
    driver = tmp_path / "bus/pci/drivers/ahci"
    driver.mkdir(parents=True)
    for name, text in (("0000:00:17.0", "2\n"), ("0000:01:00.0", "0\n"), ("0000:02:00.0", "?\n")):
        controller = tmp_path / "devices" / name
        controller.mkdir(parents=True)
        (controller / "remapped_nvme").write_text(text)
        (driver / name).symlink_to(controller)
    assert count_hidden_disks(tmp_path) == 2
