"""A drill's disks, judged by readers that share no code with what made them."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from dissect.fve.bde import BDE
from dissect.volume import disk
from support.ntfs_reader import partition_view, read_independently
from support.registry_reader import open_hive
from support.truth_file import MachineTruth, differences, read_truth_file

from unbrick.drill.disk import ntfs
from unbrick.drill.disk.truth import VolumeTruth, read_truth, sha256_of
from unbrick.drill.fleet import Fleet, make_fleet
from unbrick.drill.options import (
    MIB,
    Encryption,
    FleetOptions,
    ImageFormat,
    MachineOptions,
    standard_fleet,
)
from unbrick.model import Status
from unbrick.processes.command import SystemRunner

_SEED = 11


@dataclass(frozen=True)
class _Made:
    fleet: Fleet
    truths: dict[str, MachineTruth]
    progress: list[str]

    def disk(self, scenario: str) -> tuple[Path, MachineTruth]:
        truth = next(truth for truth in self.truths.values() if truth.scenario == scenario)
        return self.fleet.directory / truth.disk, truth


def _make(directory: Path, *machines: MachineOptions, seed: int = _SEED) -> _Made:
    progress: list[str] = []
    fleet = make_fleet(directory, FleetOptions(machines, seed), SystemRunner(), progress.append)
    truths = {truth.name: truth for truth in read_truth_file(fleet.truth)}
    return _Made(fleet, truths, progress)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> _Made:
    directory = tmp_path_factory.mktemp("drill") / "fleet"
    return _make(directory, *standard_fleet(_SEED, 160 * MIB, files=60))


def _volume_file(image: Path, volume: VolumeTruth, folder: Path) -> Path:
    """The volume as a file of its own, for tools that know no offsets."""
    copy = folder / f"{image.stem}-{volume.partition}.ntfs"
    with image.open("rb") as source, copy.open("wb") as target:
        source.seek(volume.offset)
        target.truncate(volume.length)
        for at in range(0, volume.length, MIB):
            block = source.read(min(MIB, volume.length - at))
            if any(block):
                target.seek(at)
                target.write(block)
    return copy


def _tool(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)


def test_the_folder_holds_the_disks_and_three_files_and_nothing_else(made: _Made) -> None:
    names = {path.name for path in made.fleet.directory.iterdir()}
    disks = {truth.disk for truth in made.truths.values()}
    assert names == disks | {"inventory.csv", "keys.csv", "truth.json"}
    assert len(disks) == len(made.progress) == 8
    assert (made.fleet.directory / "keys.csv").stat().st_mode & 0o077 == 0


def test_the_truth_expects_five_repairs_one_key_one_person_and_one_healthy(made: _Made) -> None:
    assert Counter(truth.expected for truth in made.truths.values()) == {
        Status.REPAIRED: 5,
        Status.NEEDS_KEY: 1,
        Status.NEEDS_HANDS: 1,
        Status.HEALTHY: 1,
    }
    for truth in made.truths.values():
        for volume in truth.volumes:
            paths = {file.path for file in volume.files}
            assert set(volume.faulty) <= paths
            assert bool(volume.faulty) == (truth.expected is not Status.HEALTHY)
            assert len(paths) == len(volume.files) > 60


def test_no_password_is_in_the_truth_and_the_missing_one_is_nowhere(made: _Made) -> None:
    rows = list(csv.DictReader(made.fleet.keys.read_text().splitlines()))
    escrowed = {row["KeyID"] for row in rows}
    locked = {volume.protector for truth in made.truths.values() for volume in truth.volumes}
    assert len(locked - {None}) == 3
    assert len(escrowed) == 2
    text = made.fleet.truth.read_text()
    assert not any(row["RecoveryKey"] in text for row in rows)
    json.loads(text)


def test_partition_tables_stand_up_to_two_other_readers(made: _Made) -> None:
    for truth in made.truths.values():
        image = made.fleet.directory / truth.disk
        assert _tool("sfdisk", "--verify", str(image)).returncode == 0
        assert "No problems found" in _tool("sgdisk", "--verify", str(image)).stdout
        with image.open("rb") as stream:
            found = {part.number: part.offset for part in disk.Disk(stream).partitions}
        for volume in truth.volumes:
            assert found[volume.partition] == volume.offset
        assert len(found) == 3 + len(truth.volumes)
        listed = json.loads(_tool("sfdisk", "--json", str(image)).stdout)["partitiontable"]
        assert listed["id"] == truth.disk_guid
        # sgdisk knows the types by numbers of its own.
        printed = _tool("sgdisk", "--print", str(image)).stdout
        codes = re.findall(r"^ +\d+ .* ([0-9A-F]{4})  ", printed, re.MULTILINE)
        assert codes == ["EF00", "0C01", *["0700"] * len(truth.volumes), "2700"]


def test_another_ntfs_reader_finds_exactly_what_the_truth_says(made: _Made) -> None:
    compared = 0
    for truth in made.truths.values():
        for volume in truth.volumes:
            if volume.protector is None:
                with (made.fleet.directory / truth.disk).open("rb") as stream:
                    found = read_independently(partition_view(stream, volume.offset, volume.length))
                assert found == {file.path: file for file in volume.files}
                compared += len(found)
    assert compared > 1000


def test_the_tree_has_one_of_each_thing_a_file_can_have(made: _Made) -> None:
    _, truth = made.disk("plain")
    files = truth.volumes[0].files
    faulty = next(file for file in files if file.path in truth.volumes[0].faulty)
    assert faulty.short_name == "C-0000~1.SYS"
    assert set(faulty.streams) == {"Zone.Identifier", "origin"}
    assert sum(file.acl == faulty.acl for file in files) == 1
    assert {file.kind for file in files} == {"file", "folder", "link"}
    assert any(file.links == 2 for file in files)
    assert any(file.attributes & 1 for file in files)
    assert any(file.size == 0 and file.kind == "file" for file in files)
    assert len({file.acl for file in files}) >= 5
    assert any(not file.path.isascii() for file in files)
    _, crashed = made.disk("crashed")
    volume = crashed.volumes[0]
    assert 2 in {file.links for file in volume.files if file.path in volume.faulty}


@pytest.mark.parametrize(
    ("scenario", "probe"),
    [("plain", 0), ("healthy", 0), ("two Windows", 0), ("crashed", 15), ("hibernated", 14)],
)
def test_ntfs_3g_takes_each_volume_for_what_it_is(
    made: _Made, tmp_path: Path, scenario: str, probe: int
) -> None:
    image, truth = made.disk(scenario)
    for volume in truth.volumes:
        copy = _volume_file(image, volume, tmp_path)
        assert _tool("ntfs-3g.probe", "--readwrite", str(copy)).returncode == probe
        checked = _tool("ntfsfix", "--no-action", str(copy))
        assert checked.returncode == 0, checked.stdout
        assert "successfully" in checked.stdout
        with copy.open("rb") as stream:
            stream.seek(0x1C)
            assert int.from_bytes(stream.read(4), "little") == volume.offset // 512
        recovered = _tool("ntfsrecover", "-n", str(copy))
        if scenario == "crashed":
            assert recovered.returncode == 1
            assert "Invalid block" in recovered.stdout
        copy.unlink()


def test_a_crashed_volume_can_be_mounted_and_is_whole(made: _Made, tmp_path: Path) -> None:
    image, truth = made.disk("crashed")
    copy = _volume_file(image, truth.volumes[0], tmp_path)
    with ntfs.mounted(copy, tmp_path / "mount", SystemRunner()) as root:
        assert differences(truth.volumes[0], read_truth(root), repaired=False) == ()
    assert _tool("ntfs-3g.probe", "--readwrite", str(copy)).returncode == 0


def test_a_dirty_volume_has_the_flag_in_both_places_and_is_mounted(tmp_path: Path) -> None:
    made = _make(tmp_path / "fleet", MachineOptions("PC-1", 1, size=160 * MIB, files=5, dirty=True))
    image, truth = made.disk("plain")
    copy = _volume_file(image, truth.volumes[0], tmp_path)
    assert _tool("ntfs-3g.probe", "--readwrite", str(copy)).returncode == 0
    assert "Volume Flags: 0x0001 DIRTY" in _tool("ntfsinfo", "-m", "-f", str(copy)).stdout
    # ntfsfix compares $MFT with $MFTMirr.
    assert "$MFT and $MFTMirr completed successfully" in _tool("ntfsfix", "-n", str(copy)).stdout
    with image.open("rb") as stream:
        found = read_independently(partition_view(stream, truth.volumes[0].offset, truth.volumes[0].length))
    assert found == {file.path: file for file in truth.volumes[0].files}


def test_hives_say_who_the_machine_is(made: _Made, tmp_path: Path) -> None:
    names = []
    for truth in made.truths.values():
        for volume in truth.volumes:
            if volume.protector is not None:
                continue
            copy = _volume_file(made.fleet.directory / truth.disk, volume, tmp_path)
            hive = tmp_path / "SYSTEM"
            raw = subprocess.run(
                ["ntfscat", "-f", str(copy), "Windows/System32/config/SYSTEM"],
                capture_output=True,
                check=True,
            )
            hive.write_bytes(raw.stdout)
            system = open_hive(hive)
            key = system.get_key("\\ControlSet001\\Control\\ComputerName\\ComputerName")
            assert key.get_value("ComputerName") == volume.hostname
            assert system.get_key("\\ControlSet001\\Services\\CSAgent").get_value("Start") == 1
            names.append(volume.hostname)
            copy.unlink()
    assert len(set(names)) == len(names) == 6


def test_the_esp_is_fat32_with_a_boot_store(made: _Made, tmp_path: Path) -> None:
    image, truth = made.disk("two Windows")
    part = next(part for part in truth.untouched if part["partition"] == 1)
    where = f"{image}@@{part['offset']}"
    assert "FAT32" in image.read_bytes()[part["offset"] + 0x52 : part["offset"] + 0x5A].decode()
    listed = _tool("mdir", "-b", "-/", "-i", where, "::").stdout.splitlines()
    assert "::/EFI/Microsoft/Boot/bootmgfw.efi" in listed
    assert "::/EFI/Boot/bootx64.efi" in listed
    store = tmp_path / "BCD"
    assert _tool("mcopy", "-i", where, "::/EFI/Microsoft/Boot/BCD", str(store)).returncode == 0
    bcd = open_hive(store)
    assert len(list(bcd.get_key("\\Objects").iter_subkeys())) == 3


def test_partitions_that_nobody_may_touch_are_known_by_their_digest(made: _Made) -> None:
    for truth in made.truths.values():
        assert [part["role"] for part in truth.untouched] == [
            "EFI system partition",
            "Microsoft reserved partition",
            "Recovery",
        ]
        for part in truth.untouched:
            image = made.fleet.directory / truth.disk
            assert sha256_of(image, part["offset"], part["length"]) == part["sha256"]
    image, truth = made.disk("plain")
    recovery = truth.untouched[-1]
    with image.open("rb") as stream:
        found = read_independently(partition_view(stream, recovery["offset"], recovery["length"]))
    assert "\\Recovery\\WindowsRE\\Winre.wim" in found


@pytest.mark.parametrize("scenario", ["BitLocker XTS-128", "BitLocker XTS-256"])
def test_the_escrowed_password_opens_the_volume_and_all_is_in_it(made: _Made, scenario: str) -> None:
    image, truth = made.disk(scenario)
    volume = truth.volumes[0]
    rows = csv.DictReader(made.fleet.keys.read_text().splitlines())
    passwords = {row["KeyID"]: row["RecoveryKey"] for row in rows}
    assert volume.protector is not None
    with image.open("rb") as stream:
        locked = BDE(partition_view(stream, volume.offset, volume.length))
        locked.unlock_with_recovery_password(passwords[volume.protector])
        found = read_independently(locked.open())
    assert found == {file.path: file for file in volume.files}


def test_the_machine_without_an_escrowed_key_is_locked(made: _Made) -> None:
    image, truth = made.disk("BitLocker, password missing")
    volume = truth.volumes[0]
    with image.open("rb") as stream:
        locked = BDE(partition_view(stream, volume.offset, volume.length))
    identifiers = {str(protector.identifier).upper() for protector in locked.information.dataset.find_vmk()}
    assert volume.protector in identifiers
    assert volume.protector not in made.fleet.keys.read_text()


def test_one_seed_gives_one_fleet_and_another_seed_another(tmp_path: Path) -> None:
    def machines(seed: int) -> tuple[MachineOptions, ...]:
        base = MachineOptions("PC-1", seed, size=160 * MIB, files=30)
        return (base, replace(base, name="PC-2", encryption=Encryption.XTS_128, two_windows=True))

    first = _make(tmp_path / "first", *machines(1), seed=1)
    again = _make(tmp_path / "again", *machines(1), seed=1)
    other = _make(tmp_path / "other", *machines(2), seed=2)
    for name in ("inventory", "keys"):
        texts = [getattr(made.fleet, name).read_bytes() for made in (first, again, other)]
        assert texts[0] == texts[1] != texts[2]
    volumes = [[truth.volumes for truth in made.truths.values()] for made in (first, again, other)]
    assert volumes[0] == volumes[1]
    assert volumes[0] != volumes[2]
    guids = [{truth.disk_guid for truth in made.truths.values()} for made in (first, again, other)]
    assert guids[0] == guids[1]
    assert not guids[0] & guids[2]


@pytest.mark.parametrize("image_format", [ImageFormat.QCOW2, ImageFormat.VHDX, ImageFormat.VMDK])
def test_other_image_formats_hold_the_same_disk(tmp_path: Path, image_format: ImageFormat) -> None:
    machine = MachineOptions("PC-1", 1, size=160 * MIB, files=10, image_format=image_format)
    made = _make(tmp_path / "fleet", machine)
    image, truth = made.disk("plain")
    assert image.name == f"PC-1.{image_format.value}"
    described = json.loads(_tool("qemu-img", "info", "--output=json", str(image)).stdout)
    assert described["format"] == image_format.value
    assert "backing-filename" not in described
    raw = tmp_path / "raw"
    assert _tool("qemu-img", "convert", "-O", "raw", str(image), str(raw)).returncode == 0
    for part in truth.untouched:
        assert sha256_of(raw, part["offset"], part["length"]) == part["sha256"]
    with raw.open("rb") as stream:
        found = read_independently(partition_view(stream, truth.volumes[0].offset, truth.volumes[0].length))
    assert found == {file.path: file for file in truth.volumes[0].files}


def test_a_disk_with_4096_byte_sectors(tmp_path: Path) -> None:
    made = _make(tmp_path / "fleet", MachineOptions("PC-1", 1, size=384 * MIB, files=10, sector_size=4096))
    image, truth = made.disk("plain")
    volume = truth.volumes[0]
    with image.open("rb") as stream:
        parts = {part.number: part.offset for part in disk.Disk(stream, sector_size=4096).partitions}
        assert parts[volume.partition] == volume.offset
        found = read_independently(partition_view(stream, volume.offset, volume.length))
        stream.seek(volume.offset + 0x0B)
        assert int.from_bytes(stream.read(2), "little") == 4096
    assert found == {file.path: file for file in volume.files}
    esp = truth.untouched[0]
    assert "bootmgfw.efi" in _tool("mdir", "-b", "-/", "-i", f"{image}@@{esp['offset']}", "::").stdout
    copy = _volume_file(image, volume, tmp_path)
    assert _tool("ntfs-3g.probe", "--readwrite", str(copy)).returncode == 0


def test_what_a_repair_or_a_careless_hand_does_is_told_apart(made: _Made, tmp_path: Path) -> None:
    image, truth = made.disk("plain")
    volume = truth.volumes[0]
    copy = _volume_file(image, volume, tmp_path)
    runner = SystemRunner()
    with ntfs.mounted(copy, tmp_path / "mount", runner) as root:
        assert differences(volume, read_truth(root), repaired=False) == ()
        for path in volume.faulty:
            root.joinpath(*path.split("\\")).unlink()
    with ntfs.mounted(copy, tmp_path / "mount", runner, read_only=True) as root:
        found = read_truth(root)
    assert differences(volume, found, repaired=True) == ()
    assert any("is missing" in line for line in differences(volume, found, repaired=False))
    with ntfs.mounted(copy, tmp_path / "mount", runner) as root:
        os.setxattr(root / "Windows" / "explorer.exe", "user.new", b"x")
        (root / "Windows" / "left behind.txt").write_text("x")
    with ntfs.mounted(copy, tmp_path / "mount", runner, read_only=True) as root:
        said = "\n".join(differences(volume, read_truth(root), repaired=True))
    assert "explorer.exe: streams was {}" in said
    assert "\\Windows\\left behind.txt is new" in said
