"""Opening disks: made by real tools and by real Windows, members of larger things, and bad input."""

from __future__ import annotations

import configparser
import gzip
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.artefacts import artefact
from support.disk_bytes import (
    BASIC_DATA,
    DISK_GUID,
    MIB,
    WINDOWS_AT,
    WINDOWS_LENGTH,
    gpt_disk,
    mbr_disk,
    ntfs_boot_sector,
    windows_disk,
)
from support.fve_bytes import BLOCKS, FveVolume

from unbrick.disks.bitlocker.metadata import read_metadata
from unbrick.disks.discover import open_disk
from unbrick.disks.disk import Disk
from unbrick.disks.in_use import refuse_image_in_use
from unbrick.errors import FailedError, NeedsHandsError, UnbrickError
from unbrick.model import ProtectorKind, Volume, VolumeState
from unbrick.processes.command import SystemRunner, wait_until

RUNNER = SystemRunner()
SIZE = 8 * MIB
TIMEOUT = 60
# Told not to tell the kernel, sfdisk does not wait until every disk of this machine is flushed.
SFDISK = ("sfdisk", "--quiet", "--no-tell-kernel", "--no-reread")
GPT_LABEL = """label: gpt
label-id: 0DB1D9A7-6A2C-4A67-9C0B-3C9D7F1E5A11
start=2048, size=8192, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B
start=10240, size=2048, type=E3C9E316-0B5C-4DB8-817D-F92DF00215AE
start=12288, size=40960, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4
start=53248, size=8192, type=DE94BBA4-06D1-4D40-A16A-BFD50179D6AC
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@contextmanager
def opened(path: Path) -> Iterator[Disk]:
    work = path.parent / "work"
    work.mkdir(exist_ok=True)
    with open_disk(path, RUNNER, work) as disk:
        yield disk
    assert not list(work.iterdir())


def write(tmp_path: Path, content: bytes | bytearray, name: str = "disk.img") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


def summary(disk: Disk) -> list[tuple[int | None, str, str, str | None]]:
    return [(v.partition, v.kind.value, v.state.value, v.refusal) for v in disk.volumes]


def reason_of(path: Path) -> str | None:
    with pytest.raises(UnbrickError) as caught, opened(path):
        pass
    assert "\n" not in caught.value.message
    assert caught.value.hint
    return caught.value.reason


def run(*argv: str, stdin: str = "") -> None:
    RUNNER.run(list(argv), timeout=TIMEOUT, stdin=stdin.encode())


# Disks that real tools made.


def test_a_gpt_disk_of_real_file_systems_whatever_its_partition_types_say(tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    with disk.open("wb") as stream:
        stream.truncate(40 * MIB)
    run(*SFDISK, str(disk), stdin=GPT_LABEL)
    for start, count, tool in (
        (2048, 8192, ("mkfs.vfat", "-F", "12")),
        (12288, 40960, ("mkntfs", "-F", "-Q", "-q", "-s", "512", "-p", "0", "-H", "0", "-S", "0")),
        (53248, 8192, ("mkfs.ext4", "-q", "-F")),
    ):
        part = tmp_path / "part"
        with part.open("wb") as stream:
            stream.truncate(count * 512)
        run(*tool, str(part))
        with disk.open("r+b") as stream:
            stream.seek(start * 512)
            stream.write(part.read_bytes())
    with opened(disk) as found:
        assert (found.guid, found.sector_size, found.size) == (DISK_GUID, 512, 40 * MIB)
        assert (found.refusal, found.notes, found.raw) == (None, (), disk)
        assert summary(found) == [
            (1, "fat", "open", None),
            (2, "unknown", "open", None),
            (3, "ntfs", "open", None),
            (4, "unknown", "open", None),
        ]
        assert (found.volumes[2].offset, found.volumes[2].length) == (12288 * 512, 40960 * 512)


def test_an_mbr_disk_with_logical_partitions_made_by_sfdisk(tmp_path: Path) -> None:
    disk = write(tmp_path, bytes(40 * MIB))
    label = "label: dos\nlabel-id: 0x5b8a2f18\nstart=2048,size=4096,type=7\nstart=8192,type=5\n"
    label += f"{disk}5 : start=10240,size=4096,type=7\n{disk}6 : start=16384,size=4096,type=c\n"
    run(*SFDISK, str(disk), stdin=label)
    with opened(disk) as found:
        assert found.guid == "5B8A2F18"
        places = [(volume.partition, volume.offset // 512) for volume in found.volumes]
        assert places == [(1, 2048), (5, 10240), (6, 16384)]


def test_windows_made_disks(tmp_path: Path) -> None:
    with zipfile.ZipFile(artefact("ntfs/velociraptor_test.vhdx.zip")) as archive:
        vhdx = Path(archive.extract("test.vhdx", tmp_path))
    with opened(vhdx) as disk:
        assert summary(disk) == [(1, "ntfs", "open", None)]
        assert (disk.volumes[0].offset, disk.volumes[0].length) == (65536, 3145728)
    raw = write(tmp_path, gzip.decompress(artefact("ntfs/dfir_ntfs_index.raw.gz").read_bytes()), "i.raw")
    with opened(raw) as disk:
        assert (disk.guid, summary(disk)) == ("5B8A2F18", [(1, "ntfs", "open", None)])
        assert disk.volumes[0].offset == 128 * 512
    qcow2 = tmp_path / "vss.qcow2"
    shutil.copyfile(artefact("ntfs/plaso_vsstest.qcow2"), qcow2)
    with opened(qcow2) as disk:
        assert (disk.guid, summary(disk)) == (None, [(None, "ntfs", "open", None)])


@pytest.fixture(scope="module")
def bitlk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bitlk")
    run("tar", "--extract", "--xz", "-f", str(artefact("bitlk/bitlk-images.tar.xz")), "-C", str(folder))
    return folder / "bitlk-images"


CIPHERS = {"aes-cbc-eboiv": "aes-cbc", "aes-xts-plain64": "aes-xts", "aes-cbc-elephant": "aes-cbc"}
KINDS = {
    "pw_vmk_guid": ProtectorKind.PASSPHRASE,
    "rp_vmk_guid": ProtectorKind.RECOVERY_PASSWORD,
    "rp2_vmk_guid": ProtectorKind.RECOVERY_PASSWORD,
    "sk_vmk_guid": ProtectorKind.STARTUP_KEY,
    "sc_vmk_guid": ProtectorKind.SMART_CARD,
    "clearkey_vmk_guid": ProtectorKind.CLEAR_KEY,
}


def test_all_bitlocker_volumes_of_windows_agree_with_what_is_known_of_them(bitlk: Path) -> None:
    known = configparser.ConfigParser(interpolation=None)
    known.read(bitlk / "images.conf")
    images = sorted(bitlk.glob("*.img"))
    assert len(images) == len(known.sections()) == 21
    for image in images:
        facts = known[image.stem]
        with opened(image) as disk:
            (volume,) = disk.volumes
        converting = image.stem.endswith("-eow") or "partially-encrypted" in image.stem
        assert volume.state is (VolumeState.CONVERTING if converting else VolumeState.LOCKED)
        assert volume.refusal == ("converting" if converting else None)
        assert volume.method is not None
        assert volume.method.startswith(CIPHERS[facts["cipher"]])
        assert volume.method.endswith("-elephant") == (facts["cipher"] == "aes-cbc-elephant")
        assert all(size not in image.stem or size in volume.method for size in ("128", "256"))
        assert volume.description
        expected = {(facts[key].upper(), kind) for key, kind in KINDS.items() if facts.get(key)}
        found = {(protector.id, protector.kind) for protector in volume.protectors}
        assert expected <= found
        # The rest is what images.conf does not list, as cryptsetup's own dump names it.
        assert {kind for _, kind in found - expected} <= {ProtectorKind.CLEAR_KEY, ProtectorKind.PASSPHRASE,
                                                          ProtectorKind.STARTUP_KEY}  # fmt: skip
        with image.open("rb") as stream:
            metadata = read_metadata(stream, 0, volume.length)
        assert metadata.guid == facts["guid"].upper()
        assert metadata.damaged_copies == (2 if image.stem.endswith("-crc") else 0)


def test_a_bitlocker_partition_on_a_disk(tmp_path: Path) -> None:
    disk = windows_disk()
    volume = FveVolume(volume_length=MIB).build()
    disk[WINDOWS_AT : WINDOWS_AT + len(volume)] = volume
    with opened(write(tmp_path, disk)) as found:
        windows = found.volumes[1]
        assert (windows.kind.value, windows.state.value, windows.partition) == ("bitlocker", "locked", 2)
        assert [p.kind.value for p in windows.protectors] == ["recovery-password", "tpm"]
        assert (windows.method, windows.description) == ("aes-xts-128", "WARD-7 C: 7/19/2024")
        assert (windows.offset, windows.length, windows.filesystem) == (WINDOWS_AT, WINDOWS_LENGTH, None)


def test_a_damaged_bitlocker_volume_is_listed_and_refused(tmp_path: Path) -> None:
    disk = windows_disk()
    volume = FveVolume(volume_length=MIB).build()
    for block in BLOCKS:
        volume[block + 70] ^= 1
    disk[WINDOWS_AT : WINDOWS_AT + len(volume)] = volume
    with opened(write(tmp_path, disk)) as found:
        assert summary(found) == [
            (1, "fat", "open", None),
            (2, "bitlocker", "damaged", "damaged-metadata"),
        ]


# What a disk belongs to.


@pytest.mark.parametrize(
    ("at", "signature", "reason"),
    [
        (SIZE - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00", "raid-member"),
        (SIZE - 512, b"\xde\x11\xde\x11", "raid-member"),
        (SIZE - 8192, b"\xfc\x4e\x2b\xa9\x01\0\0\0", "raid-member"),
        (4096, b"\xfc\x4e\x2b\xa9\x01\0\0\0", "raid-member"),
        (6, b"VeraCrypt Boot Loader", "foreign-encryption:veracrypt"),
        (3, b"SafeBoot", "foreign-encryption:mcafee"),
    ],
)
def test_a_member_of_something_larger_is_refused_as_a_whole(
    tmp_path: Path, at: int, signature: bytes, reason: str
) -> None:
    disk = windows_disk(SIZE)
    disk[at : at + len(signature)] = signature
    with opened(write(tmp_path, disk)) as found:
        assert found.refusal == reason
        assert found.refusal_text
        assert all(volume.refusal == reason for volume in found.volumes)


def test_a_raid_is_refused_even_when_the_table_on_it_is_cut_off(tmp_path: Path) -> None:
    disk = windows_disk(SIZE)[: WINDOWS_AT + MIB]
    disk[-1024 : -1024 + 24] = b"Intel Raid ISM Cfg Sig. "
    with opened(write(tmp_path, disk)) as found:
        assert (found.refusal, summary(found)) == (
            "raid-member",
            [(None, "raid-member", "open", "raid-member")],
        )


def test_a_raid_that_only_util_linux_knows_is_refused(tmp_path: Path) -> None:
    # VIA's signature is two bytes; libblkid's via_raid.c believes it with its checksum only.
    disk = mbr_disk(SIZE, [(7, 2048, 4096)])
    header = bytearray(b"\x55\xaa\x00" + bytes(47))
    header += bytes([sum(header) & 0xFF])
    disk[-512 : -512 + len(header)] = header
    with opened(write(tmp_path, disk)) as found:
        assert found.refusal == "raid-member"


def test_a_linux_raid_in_one_partition_does_not_forbid_the_others(tmp_path: Path) -> None:
    last = 4 * MIB
    disk = mbr_disk(SIZE, [(7, 2048, 4096), (0xFD, last // 512, (SIZE - last) // 512)])
    disk[MIB : MIB + 512] = ntfs_boot_sector(2 * MIB)
    at = SIZE - 65536
    disk[at : at + 8] = b"\xfc\x4e\x2b\xa9\0\0\0\0"
    with opened(write(tmp_path, disk)) as found:
        assert found.refusal is None
        assert summary(found) == [
            (1, "ntfs", "open", None),
            (2, "raid-member", "open", "raid-member"),
        ]


@pytest.mark.parametrize(
    ("kind", "reason", "word"),
    [
        (BASIC_DATA, "storage-spaces", "storage-spaces"),
        ("AF9B60A0-1431-4F62-BC68-3311714A69AD", "dynamic-disk", "ldm"),
        ("E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D", "storage-spaces", "storage-spaces"),
    ],
)
def test_dynamic_disks_and_storage_pools(tmp_path: Path, kind: str, reason: str, word: str) -> None:
    disk = gpt_disk(SIZE, [(MIB, MIB, BASIC_DATA), (2 * MIB, MIB, kind)])
    content = b"SPACEDB " if kind == BASIC_DATA else ntfs_boot_sector(MIB)
    disk[2 * MIB : 2 * MIB + len(content)] = content
    with opened(write(tmp_path, disk)) as found:
        assert found.refusal == reason
        assert summary(found) == [(1, "unknown", "open", reason), (2, word, "open", reason)]


@pytest.mark.parametrize(
    ("at", "raw", "expected"),
    [
        (0, b"\0\0\0ReFS\0\0\0\0", (2, "refs", "open", "refs")),
        (0, b"LUKS\xba\xbe\0\2", (2, "foreign-encryption", "locked", "foreign-encryption:luks")),
        (4096, b"\xfc\x4e\x2b\xa9\1\0\0\0", (2, "raid-member", "open", "raid-member")),
        (0, b"\xeb\x52\x90NTFS    ", (2, "ntfs", "damaged", "damaged-volume")),
    ],
)
def test_one_volume_that_must_not_be_written_beside_others(
    tmp_path: Path, at: int, raw: bytes, expected: tuple[int, str, str, str]
) -> None:
    disk = windows_disk()
    disk[WINDOWS_AT : WINDOWS_AT + 512] = bytes(512)
    disk[WINDOWS_AT + at : WINDOWS_AT + at + len(raw)] = raw
    with opened(write(tmp_path, disk)) as found:
        assert found.refusal is None
        assert summary(found) == [(1, "fat", "open", None), expected]


def test_an_ntfs_whose_start_is_destroyed_is_told_by_its_end(tmp_path: Path) -> None:
    disk = windows_disk()
    end = WINDOWS_AT + WINDOWS_LENGTH
    disk[end - 512 : end] = disk[WINDOWS_AT : WINDOWS_AT + 512]
    disk[WINDOWS_AT : WINDOWS_AT + 512] = bytes(512)
    with opened(write(tmp_path, disk)) as found:
        assert summary(found)[1] == (2, "ntfs", "damaged", "damaged-volume")


def test_an_unreadable_windows_partition_beside_another_vendors_boot_program(tmp_path: Path) -> None:
    esp = tmp_path / "esp.img"
    with esp.open("wb") as stream:
        stream.truncate(MIB)
    run("mkfs.vfat", "-F", "12", str(esp))
    run("mmd", "-i", str(esp), "::/EFI", "::/EFI/Microsoft", "::/EFI/VeraCrypt")
    disk = windows_disk()
    disk[MIB : 2 * MIB] = esp.read_bytes()
    image = write(tmp_path, disk)
    with opened(image) as found:
        # The program was left behind when the disk was decrypted: Windows can be read.
        assert summary(found)[1] == (2, "ntfs", "open", None)
    disk[WINDOWS_AT : WINDOWS_AT + 4096] = os.urandom(4096)
    image = write(tmp_path, disk)
    with opened(image) as found:
        reason = "foreign-encryption:veracrypt"
        assert summary(found)[1] == (2, "foreign-encryption", "locked", reason)


# Bad input.


def test_what_is_no_disk(tmp_path: Path, work: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.img")
    (tmp_path / "loop.img").symlink_to("loop.img")
    assert reason_of(tmp_path / "absent.img") == "not-found"
    assert reason_of(tmp_path / "folder") == "not-found"
    assert reason_of(tmp_path / "pipe.img") == "not-found"
    assert reason_of(tmp_path / "loop.img") == "unreadable-disk"
    assert reason_of(Path("/dev/null")) == "not-found" if os.access("/dev", os.W_OK) else True
    with pytest.raises(FailedError):
        open_disk(tmp_path / "bad\0name.img", RUNNER, work).__enter__()


def test_an_image_without_the_right_to_read_it(tmp_path: Path) -> None:
    image = write(tmp_path, windows_disk())
    image.chmod(0)
    (tmp_path / "work").mkdir()
    tmp_path.chmod(0o755)
    script = (
        "import os, sys; from pathlib import Path; from unbrick.processes.command import SystemRunner\n"
        "from unbrick.disks.discover import open_disk; from unbrick.errors import UnbrickError\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: open_disk(Path('disk.img'), SystemRunner(), Path('work')).__enter__()\n"
        "except UnbrickError as error: print(error.reason)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=TIMEOUT
    )
    assert done.stdout.strip() == "unreadable-disk", done.stderr


def test_an_empty_and_a_blank_disk(tmp_path: Path) -> None:
    assert reason_of(write(tmp_path, b"")) == "empty-disk"
    with opened(write(tmp_path, bytes(SIZE), "blank.img")) as found:
        assert summary(found) == [(None, "unknown", "open", None)]
    assert reason_of(write(tmp_path, bytes(100), "tiny.img")) == "truncated"


def test_a_cut_off_disk_and_a_cut_off_volume(tmp_path: Path) -> None:
    assert reason_of(write(tmp_path, windows_disk()[: 3 * MIB])) == "truncated"
    with opened(write(tmp_path, ntfs_boot_sector(MIB) + bytes(1000), "v.img")) as found:
        assert summary(found) == [(None, "ntfs", "damaged", "truncated")]


def test_a_broken_table_and_one_read_from_its_backup(tmp_path: Path) -> None:
    disk = windows_disk()
    disk[512 + 56] ^= 1
    with opened(write(tmp_path, disk)) as found:
        assert "the backup was used" in found.notes[0]
        assert [volume.kind.value for volume in found.volumes] == ["fat", "ntfs"]
    disk[-512 + 56] ^= 1
    assert reason_of(write(tmp_path, disk)) == "damaged-table"


@contextmanager
def bad_sectors(image: Path, *sectors: int) -> Iterator[Path]:
    """The image as a file whose reads of some sectors fail, through QEMU's blkdebug driver."""
    target = image.with_name("failing.img")
    target.write_bytes(b"")
    errors = [{"event": "none", "iotype": "read", "sector": sector, "errno": 5} for sector in sectors]
    node = {
        "driver": "blkdebug",
        "node-name": "d",
        "inject-error": errors,
        "image": {"driver": "file", "filename": str(image)},
    }
    export = {"type": "fuse", "id": "e", "node-name": "d", "mountpoint": str(target)}
    argv = ["qemu-storage-daemon", "--blockdev", json.dumps(node), "--export", json.dumps(export)]
    server = RUNNER.start(argv)
    try:
        wait_until(server, lambda: target.stat().st_size > 0, timeout=TIMEOUT, what="blkdebug")
        yield target
    finally:
        server.stop(TIMEOUT)


def test_a_disk_with_an_unreadable_table_fails_and_with_one_bad_volume_does_not(tmp_path: Path) -> None:
    image = write(tmp_path, windows_disk())
    with bad_sectors(image, 1) as failing:
        assert reason_of(failing) == "unreadable-disk"
    with bad_sectors(image, WINDOWS_AT // 512) as failing, opened(failing) as found:
        assert summary(found) == [
            (1, "fat", "open", None),
            (2, "unknown", "damaged", "unreadable-disk"),
        ]


def test_a_block_device_is_raw_whatever_it_begins_with(tmp_path: Path) -> None:
    disk = windows_disk()
    disk[:4] = b"QFI\xfb"
    image = write(tmp_path, disk)
    with loop_device(image) as device:
        with opened_device(device, tmp_path) as found:
            assert (found.raw, found.size, found.sector_size) == (device, len(disk), 512)
            assert [volume.kind.value for volume in found.volumes] == ["fat", "ntfs"]
            found.sync()
        holder = os.open(device, os.O_RDONLY | os.O_EXCL)
        try:
            with pytest.raises(NeedsHandsError) as caught, opened_device(device, tmp_path):
                pass
            assert caught.value.reason == "disk-in-use"
        finally:
            os.close(holder)


def test_a_mounted_device_is_in_use(tmp_path: Path) -> None:
    image = tmp_path / "fs.img"
    with image.open("wb") as stream:
        stream.truncate(4 * MIB)
    run("mkntfs", "-F", "-Q", "-q", str(image))
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    with loop_device(image) as device:
        server = RUNNER.start(["ntfs-3g", "-o", "ro,no_detach", str(device), str(mountpoint)])
        try:
            wait_until(server, mountpoint.is_mount, timeout=TIMEOUT, what="ntfs-3g")
            with (
                pytest.raises(NeedsHandsError, match="is mounted at") as caught,
                opened_device(device, tmp_path),
            ):
                pass
            assert caught.value.reason == "disk-in-use"
        finally:
            run("umount", str(mountpoint))
            server.wait(TIMEOUT)


def test_a_name_that_is_no_utf8_of_what_another_disk_is_attached_from_is_no_matter(tmp_path: Path) -> None:
    other = tmp_path / os.fsdecode(b"m\xfcller.img")  # in Latin-1
    other.write_bytes(bytes(MIB))
    with loop_device(other):
        with opened(write(tmp_path, windows_disk())) as found:
            assert [volume.kind.value for volume in found.volumes] == ["fat", "ntfs"]
        with pytest.raises(NeedsHandsError, match="is attached as"):
            refuse_image_in_use([other])


@contextmanager
def loop_device(image: Path) -> Iterator[Path]:
    name = RUNNER.run(["losetup", "--find", "--show", str(image)], timeout=TIMEOUT).stdout.decode().strip()
    try:
        yield Path(name)
    finally:
        run("losetup", "--detach", name)


@contextmanager
def opened_device(device: Path, tmp_path: Path) -> Iterator[Disk]:
    with open_disk(device, RUNNER, tmp_path) as disk:
        yield disk


def test_nothing_is_written_by_looking(tmp_path: Path) -> None:
    disk = windows_disk()
    image = write(tmp_path, disk)
    times = (image.stat().st_mtime_ns, image.stat().st_ctime_ns)
    with opened(image) as found:
        found.sync()
    assert image.read_bytes() == disk
    assert (image.stat().st_mtime_ns, image.stat().st_ctime_ns) == times


def test_a_volume_keeps_no_filesystem_state_here(tmp_path: Path) -> None:
    with opened(write(tmp_path, windows_disk())) as found:
        volumes: tuple[Volume, ...] = found.volumes
        assert all(volume.filesystem is None for volume in volumes)
