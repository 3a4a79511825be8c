"""What the drill encrypts is BitLocker to real tools: cryptsetup, dislocker, dissect.fve, and NTFS on top."""

import hashlib
import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, cast

import pytest
from dissect.fve.bde import BDE
from dissect.ntfs import NTFS

from unbrick.disks.ntfs.structures import open_view, read_geometry
from unbrick.drill.bitlocker.areas import (
    FOLDER,
    RESERVED_FILES,
    NtfsImageError,
    prepare_reserved_files,
    used_ranges,
)
from unbrick.drill.bitlocker.encrypt import EncryptedVolume, encrypt_volume
from unbrick.drill.bitlocker.settings import BitLockerSettings, Method, make_recovery_password
from unbrick.processes.command import SystemRunner, wait_until
from unbrick.secret import Secret
from unbrick.windows.ntfs_file import FileAttributes, read_attributes

RUNNER = SystemRunner()
LENGTH = 48 << 20
CONTENT = random.Random(4).randbytes(3_000_000)
PASSWORD = make_recovery_password(random.Random(2024))
WRONG_PASSWORD = make_recovery_password(random.Random(2025))
PROTECTOR = "64311DEA-4587-4029-924A-BA299647998E"
TOOL_TIMEOUT = 60


@contextmanager
def mounted(image: Path, folder: Path) -> Iterator[Path]:
    folder.mkdir(exist_ok=True)
    options = "no_detach,streams_interface=xattr"
    server = RUNNER.start(["ntfs-3g", "-o", options, str(image), str(folder)])
    try:
        wait_until(server, lambda: os.path.ismount(folder), timeout=TOOL_TIMEOUT, what="ntfs-3g")
        yield folder
    finally:
        RUNNER.run(["umount", str(folder)], timeout=TOOL_TIMEOUT)
        server.wait(TOOL_TIMEOUT)


def make_ntfs(path: Path, *cluster: str) -> None:
    with path.open("wb") as stream:
        stream.truncate(LENGTH)
    RUNNER.run(
        ["mkntfs", "-F", "-Q", "-q", "-s", "512", "-p", "2048", *cluster, str(path)], timeout=TOOL_TIMEOUT
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An NTFS with the reserved files, some content, and a deleted file's bytes in free clusters."""
    folder = tmp_path_factory.mktemp("source")
    image = folder / "ntfs.img"
    make_ntfs(image)
    with mounted(image, folder / "mnt") as root:
        prepare_reserved_files(root)
        (root / "content.bin").write_bytes(CONTENT)
        (root / "deleted.bin").write_bytes(CONTENT)
        (root / "deleted.bin").unlink()
        for number in range(200):
            (root / f"file {number}.txt").write_text(f"file {number} " * number)
    return image


@dataclass(frozen=True)
class Case:
    image: Path
    settings: BitLockerSettings
    result: EncryptedVolume


def settings_for(method: Method, *, clear_key: bool, tpm: bool = True) -> BitLockerSettings:
    return BitLockerSettings(
        method=method,
        computer="WARD-PC-07",
        recovery_password=PASSWORD,
        protector_id=PROTECTOR,
        tpm=tpm,
        clear_key=clear_key,
        seed=17,
        created=datetime(2024, 7, 4, 8, 30, tzinfo=UTC),
    )


def encrypt(
    source: Path, folder: Path, settings: BitLockerSettings, *, used_space_only: bool = False
) -> Case:
    image = folder / "bitlocker.img"
    shutil.copy(source, image)
    return Case(image, settings, encrypt_volume(image, 0, LENGTH, settings, used_space_only=used_space_only))


@pytest.fixture(
    scope="module",
    params=[("aes-xts-128", False), ("aes-xts-256", False), ("aes-xts-128", True), ("aes-xts-256", True)],
    ids=["xts-128", "xts-256", "xts-128-suspended", "xts-256-suspended"],
)
def case(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> Case:
    method, clear_key = request.param
    return encrypt(source, tmp_path_factory.mktemp("case"), settings_for(method, clear_key=clear_key))


def dislocker(image: Path, out: Path, *way_in: str, offset: int = 0) -> Path:
    """Decrypt everything. A password on a command line is for tests only."""
    argv = ["dislocker-file", "-O", str(offset), "-V", str(image), *way_in, "--", str(out)]
    RUNNER.run(argv, timeout=TOOL_TIMEOUT)
    return out


def by_password(password: Secret = PASSWORD) -> str:
    return f"-p{password.reveal().decode()}"


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def test_cryptsetup_shows_what_was_asked_for(case: Case) -> None:
    said = RUNNER.run(["cryptsetup", "bitlkDump", str(case.image)], timeout=TOOL_TIMEOUT).stdout.decode()
    lines = [" ".join(line.split()) for line in said.splitlines()]
    bits = {"aes-xts-128": 256, "aes-xts-256": 512}[case.settings.method]
    assert f"GUID: {case.result.identifier.lower()}" in lines
    assert f"Cipher key: {bits} bits" in lines
    for line in (
        "Version: 2",
        "Sector size: 512 [bytes]",
        f"Volume size: {LENGTH} [bytes]",
        "Created: Thu Jul 4 08:30:00 2024",
        "Description: WARD-PC-07 C: 7/4/2024",
        "Cipher name: aes",
        "Cipher mode: xts-plain64",
    ):
        assert line in lines
    kinds = {
        "tpm": "VMK protected with TPM",
        "recovery-password": "VMK protected with recovery passphrase",
        "clear-key": "VMK protected with clear key",
    }
    shown = [
        (guid.removeprefix("GUID: ").upper(), kind.removeprefix("Protection: "))
        for guid, kind in pairwise(lines)
        if kind.startswith("Protection:")
    ]
    assert shown == [(protector.id, kinds[protector.kind]) for protector in case.result.protectors]
    assert len(shown) == (3 if case.settings.clear_key else 2)
    places = [int(line.split()[1]) for line in lines if line.startswith("Offset:")]
    assert places == [*case.result.areas.block_offsets, case.result.areas.header_offset]


def test_cryptsetup_takes_the_password_and_no_other(case: Case) -> None:
    argv = ["cryptsetup", "open", "--type", "bitlk", "--test-passphrase", str(case.image)]
    right = RUNNER.run(argv, timeout=TOOL_TIMEOUT, stdin=PASSWORD, ok=None)
    wrong = RUNNER.run(argv, timeout=TOOL_TIMEOUT, stdin=WRONG_PASSWORD, ok=None)
    if case.settings.clear_key:
        # cryptsetup opens no suspended volume, Windows-made ones neither.
        assert b"partially decrypted" in right.stderr
    else:
        assert right.returncode == 0, right.stderr
    assert wrong.returncode != 0


def test_cryptsetup_gets_the_very_key_of_the_data(case: Case, tmp_path: Path) -> None:
    """That way cryptsetup opens the suspended volumes too."""
    argv = ["cryptsetup", "bitlkDump", "--dump-volume-key", "--batch-mode", "--volume-key-file"]
    key = tmp_path / "volume.key"
    RUNNER.run([*argv, str(key), str(case.image)], timeout=TOOL_TIMEOUT, stdin=PASSWORD)
    assert len(key.read_bytes()) == {"aes-xts-128": 32, "aes-xts-256": 64}[case.settings.method]


def test_dislocker_gives_the_source_byte_for_byte(case: Case, source: Path, tmp_path: Path) -> None:
    ways = [by_password()] + (["-c"] if case.settings.clear_key else [])
    for number, way in enumerate(ways):
        assert digest(dislocker(case.image, tmp_path / f"{number}.ntfs", way)) == digest(source)


def test_dislocker_refuses_another_password(case: Case, tmp_path: Path) -> None:
    argv = ["dislocker-file", "-V", str(case.image), by_password(WRONG_PASSWORD), "--", str(tmp_path / "out")]
    done = subprocess.run(argv, capture_output=True, timeout=TOOL_TIMEOUT, check=False)
    assert done.returncode != 0
    assert not (tmp_path / "out").exists()


def test_dissect_reads_it(case: Case, source: Path) -> None:
    with case.image.open("rb") as raw, source.open("rb") as plain:
        volume = BDE(raw)
        assert volume.description() == "WARD-PC-07 C: 7/4/2024"
        assert [str(guid).upper() for guid in volume.identifiers] == [p.id for p in case.result.protectors]
        assert volume.has_clear_key() is case.settings.clear_key
        assert len(volume._valid_information) == 3
        with pytest.raises(ValueError, match="Unable to unlock"):
            volume.unlock_with_recovery_password(WRONG_PASSWORD.reveal().decode())
        volume.unlock_with_recovery_password(PASSWORD.reveal().decode(), PROTECTOR.lower())
        master = next(volume.information.dataset.find_recovery_vmk())
        assert master.label() is None
        stream = cast(BinaryIO, volume.open())
        assert stream.read(1 << 20) == plain.read(1 << 20)
        for start in (*case.result.areas.block_offsets, case.result.areas.header_offset, LENGTH - 4096):
            stream.seek(start - 512)
            plain.seek(start - 512)
            assert stream.read(4096) == plain.read(4096)
        stream.seek(0)
        table = NTFS(stream).mft
        assert table is not None
        assert table.get("content.bin").open().read(1 << 16) == CONTENT[: 1 << 16]


def test_every_copy_of_the_metadata_stands_on_its_own(source: Path, tmp_path: Path) -> None:
    case = encrypt(source, tmp_path, settings_for("aes-xts-128", clear_key=False))
    for survivor in range(3):
        image = tmp_path / "damaged.img"
        shutil.copy(case.image, image)
        with image.open("r+b") as stream:
            for copy, start in enumerate(case.result.areas.block_offsets):
                if copy != survivor:
                    stream.seek(start + 200)
                    stream.write(b"\xff" * 16)
        out = dislocker(image, tmp_path / f"{survivor}.ntfs", by_password())
        assert digest(out) == digest(source)


def test_without_a_tpm(source: Path, tmp_path: Path) -> None:
    case = encrypt(source, tmp_path, settings_for("aes-xts-128", clear_key=False, tpm=False))
    said = RUNNER.run(["cryptsetup", "bitlkDump", str(case.image)], timeout=TOOL_TIMEOUT).stdout
    assert b"TPM" not in said
    assert digest(dislocker(case.image, tmp_path / "out.ntfs", by_password())) == digest(source)


def test_inside_a_disk(source: Path, tmp_path: Path) -> None:
    """With other partitions around it: they stay, and the cipher counts from the volume's start."""
    offset, around = 3 << 20, random.Random(8).randbytes(3 << 20)
    disk = tmp_path / "disk.img"
    disk.write_bytes(around + source.read_bytes() + around)
    settings = settings_for("aes-xts-256", clear_key=False)
    alone = encrypt(source, tmp_path, settings)
    assert encrypt_volume(disk, offset, LENGTH, settings).areas == alone.result.areas
    assert digest(dislocker(disk, tmp_path / "out.ntfs", by_password(), offset=offset)) == digest(source)
    written = disk.read_bytes()
    assert written[:offset] == around
    assert written[offset + LENGTH :] == around


@pytest.mark.parametrize("cluster", ["512", "65536"])
def test_other_cluster_sizes(tmp_path: Path, cluster: str) -> None:
    image = tmp_path / "ntfs.img"
    make_ntfs(image, "-c", cluster)
    with mounted(image, tmp_path / "mnt") as root:
        prepare_reserved_files(root)
        (root / "content.bin").write_bytes(CONTENT)
    case = encrypt(image, tmp_path, settings_for("aes-xts-128", clear_key=False))
    assert digest(dislocker(case.image, tmp_path / "out.ntfs", by_password())) == digest(image)


def test_used_space_only(source: Path, tmp_path: Path) -> None:
    """Every cluster that the file system has given out is the source's; free ones are as they were."""
    settings = settings_for("aes-xts-128", clear_key=False)
    case = encrypt(source, tmp_path, settings, used_space_only=True)
    out = dislocker(case.image, tmp_path / "out.ntfs", by_password())
    plain, decrypted, written = source.read_bytes(), out.read_bytes(), case.image.read_bytes()
    with open_view(source) as view:
        geometry = read_geometry(view)
        clusters = geometry.length // geometry.cluster
        used = [*used_ranges(view, geometry), (clusters * geometry.cluster, LENGTH)]
    said = RUNNER.run(["ntfsinfo", "-m", str(source)], timeout=TOOL_TIMEOUT).stdout.decode()
    free = int(next(line for line in said.splitlines() if "Free Clusters" in line).split(":")[1].split()[0])
    assert sum(end - start for start, end in used[:-1]) // 4096 == clusters - free
    last = 0
    for start, end in used:
        assert decrypted[start:end] == plain[start:end]
        assert written[last:start] == plain[last:start]
        last = end
    assert 8 << 20 > case.result.encrypted > len(CONTENT)
    assert CONTENT[:4096] not in b"".join(written[start:end] for start, end in used)


def test_windows_side_of_the_reserved_files(source: Path, tmp_path: Path) -> None:
    """They are ordinary, hidden files full of zeros, so that no allocation by NTFS lands in them."""
    image = tmp_path / "copy.img"
    shutil.copy(source, image)
    with mounted(image, tmp_path / "mnt") as root:
        hidden = FileAttributes.HIDDEN | FileAttributes.SYSTEM
        assert read_attributes(root / FOLDER) & hidden == hidden
        assert {path.name for path in (root / FOLDER).iterdir()} == set(RESERVED_FILES)
        for name, size in RESERVED_FILES.items():
            path = root / FOLDER / name
            assert path.read_bytes() == bytes(size)
            assert read_attributes(path) & hidden == hidden
            assert not read_attributes(path) & (FileAttributes.SPARSE | FileAttributes.COMPRESSED)


def test_a_filled_volume_stays_whole(source: Path, tmp_path: Path) -> None:
    """Fill the unlocked volume to the brim: no data lands where BitLocker would lose it."""
    case = encrypt(source, tmp_path, settings_for("aes-xts-128", clear_key=False), used_space_only=True)
    fuse, root = tmp_path / "fuse", tmp_path / "mnt"
    fuse.mkdir()
    argv = ["dislocker-fuse", "-V", str(case.image), by_password(), "--", "-f", str(fuse)]
    server = RUNNER.start(argv)
    written = {}
    try:
        unlocked = fuse / "dislocker-file"
        wait_until(server, unlocked.exists, timeout=TOOL_TIMEOUT, what="dislocker")
        with mounted(unlocked, root):
            for number in range(60):
                data = random.Random(number).randbytes(1 << 20)
                try:
                    (root / f"filler {number}").write_bytes(data)
                except OSError:
                    break
                written[number] = hashlib.sha256(data).digest()
        with mounted(unlocked, root):
            assert len(written) > 20
            for number, expected in written.items():
                assert hashlib.sha256((root / f"filler {number}").read_bytes()).digest() == expected
            assert (root / "content.bin").read_bytes() == CONTENT
    finally:
        RUNNER.run(["umount", str(fuse)], timeout=TOOL_TIMEOUT)
        server.wait(TOOL_TIMEOUT)
    said = RUNNER.run(["cryptsetup", "bitlkDump", str(case.image)], timeout=TOOL_TIMEOUT).stdout.decode()
    assert case.result.identifier.lower() in said


def test_an_ntfs_that_was_not_prepared_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "bare.img"
    make_ntfs(image)
    before = digest(image)
    with pytest.raises(NtfsImageError, match="prepare_reserved_files"):
        encrypt_volume(image, 0, LENGTH, settings_for("aes-xts-128", clear_key=False))
    assert digest(image) == before


def test_the_seed_fixes_every_byte(source: Path, tmp_path: Path) -> None:
    settings = settings_for("aes-xts-128", clear_key=True)
    digests = set()
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        case = encrypt(source, folder, replace(settings, seed=seed), used_space_only=True)
        digests.add(digest(case.image))
    assert len(digests) == 2
