"""Reading installations and files through a real ntfs-3g, off volumes it made and one that Windows made."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.artefacts import artefact
from support.hives import unpacked, write_hive

from unbrick.files import find_inside
from unbrick.processes.command import SystemRunner, wait_until
from unbrick.windows.installation import find_installations
from unbrick.windows.ntfs_file import NtfsTimes, datetime_to_filetime, read_reparse_tag, write_times
from unbrick.windows.observe import UnreadableFileError, observe_file

WRITTEN = datetime(2024, 7, 19, 4, 9, 33, 123456, tzinfo=UTC)
CHANNEL_FILE = "\\Windows\\System32\\drivers\\CrowdStrike\\C-00000291-00000000-00000032.sys"
OFFLINE = 0x1000
WOF_DATA = struct.pack("<IHHIIII", 0x80000017, 16, 0, 1, 2, 1, 0)


@contextmanager
def mounted(image: Path, folder: Path, access: str) -> Iterator[Path]:
    """An NTFS image mounted as the product mounts it, until the end of the block and of the server."""
    folder.mkdir(exist_ok=True)
    options = f"{access},streams_interface=xattr,no_detach,noatime"
    server = SystemRunner().start(["ntfs-3g", "-o", options, str(image), str(folder)])
    try:
        wait_until(server, lambda: folder.is_mount(), timeout=20, what="ntfs-3g")
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=False)
        server.wait(20)


def fill(root: Path) -> None:
    config = root / "Windows" / "System32" / "config"
    config.mkdir(parents=True)
    (config / "SYSTEM").write_bytes(unpacked("regipy_SYSTEM_B"))
    for log in ("LOG1", "LOG2"):
        (config / f"SYSTEM.{log}").write_bytes(unpacked(f"regipy_SYSTEM_B.{log}"))
    # Made beside the volume: hivex commits by a rename that a FUSE mount need not allow.
    software = write_hive(
        root.parent / "software", {"Microsoft": {"Windows NT": {"CurrentVersion": {"ProductName": "W"}}}}
    )
    (config / "SOFTWARE").write_bytes(software.read_bytes())
    channel = root / CHANNEL_FILE.strip("\\").replace("\\", "/")
    channel.parent.mkdir(parents=True)
    channel.write_bytes(b"\xaa\xaa\xaa\xaa\x01\x00\x23\x01" + b"x" * 40000)
    for name in ("wof.sys", "offline.sys"):
        channel.with_name(name).write_bytes(b"x" * 5000)
    reparse = "system.ntfs_reparse_data"
    os.setxattr(channel.with_name("wof.sys"), reparse, WOF_DATA, follow_symlinks=False)
    os.setxattr(channel.with_name("offline.sys"), "system.ntfs_attrib", struct.pack("<I", OFFLINE))
    ticks = datetime_to_filetime(WRITTEN)
    write_times(channel, NtfsTimes(ticks, ticks, ticks, ticks))


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ntfs")
    path = folder / "windows.img"
    with path.open("wb") as stream:
        stream.truncate(64 << 20)
    subprocess.run(["mkntfs", "-q", "-F", "-Q", str(path)], check=True, capture_output=True)
    with mounted(path, folder / "root", "rw") as root:
        fill(root)
    return path


@pytest.fixture(scope="module")
def root(image: Path) -> Iterator[Path]:
    with mounted(image, image.parent / "root", "ro") as root:
        yield root


def why(root: Path, path: str) -> str:
    with pytest.raises(UnreadableFileError) as caught:
        observe_file(root, path)
    return caught.value.why


def test_a_dirty_installation_is_read_through_fuse(root: Path) -> None:
    (found,) = find_installations(root)
    assert (found.hostname, found.display, len(found.services)) == ("DESKTOP-PM6C56D", "W", 656)
    assert (found.readable, found.warnings) == (True, ())
    assert found.names_boot_file("\\Windows\\System32\\drivers\\stornvme.sys") == "stornvme"
    assert found.names_boot_file(CHANNEL_FILE) is None


def test_a_file_is_read_with_its_ntfs_time(root: Path) -> None:
    seen = observe_file(root, CHANNEL_FILE.upper())
    assert seen.path == CHANNEL_FILE
    assert seen.modified == WRITTEN
    assert seen.sha256 == hashlib.sha256(b"\xaa\xaa\xaa\xaa\x01\x00\x23\x01" + b"x" * 40000).hexdigest()


def test_bytes_kept_elsewhere_are_refused(root: Path) -> None:
    folder = CHANNEL_FILE.rpartition("\\")[0]
    assert "WOF" in why(root, f"{folder}\\wof.sys")
    assert "offline" in why(root, f"{folder}\\offline.sys")
    assert "folder" in why(root, folder)


def test_reading_changes_nothing_on_a_volume_mounted_for_writing(image: Path, tmp_path: Path) -> None:
    def times(root: Path) -> list[tuple[int, int, int]]:
        paths = [CHANNEL_FILE, "\\Windows\\System32\\config\\SYSTEM", "\\Windows\\System32\\config"]
        states = [path.stat() for text in paths if (path := find_inside(root, text))]
        assert len(states) == len(paths)
        return [(state.st_atime_ns, state.st_mtime_ns, state.st_size) for state in states]

    copy = tmp_path / "copy.img"
    subprocess.run(["cp", "--sparse=always", str(image), str(copy)], check=True)
    with mounted(copy, tmp_path / "root", "rw") as root:
        before = times(root)
        find_installations(root)
        observe_file(root, CHANNEL_FILE)
        assert times(root) == before


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A volume on which Windows keeps a OneDrive folder, crashed; replayed here, on a copy."""
    folder = tmp_path_factory.mktemp("cloud")
    image = folder / "cloud.img"
    with gzip.open(artefact("ntfs/dissect_ntfs-cloud.bin.gz")) as packed, image.open("wb") as stream:
        while chunk := packed.read(1 << 20):
            if chunk.strip(b"\0"):
                stream.write(chunk)
            else:
                stream.seek(len(chunk), os.SEEK_CUR)
        stream.truncate()
    subprocess.run(["ntfsrecover", "-k", str(image)], check=True, capture_output=True)
    yield image
    image.unlink()


def test_a_cloud_folder_hides_what_is_in_it(cloud: Path, tmp_path: Path) -> None:
    with mounted(cloud, tmp_path / "root", "ro") as root:
        assert (root / "OneDrive").is_symlink()
        assert read_reparse_tag(root / "OneDrive") == 0x9000701A
        assert "cloud" in why(root, "\\OneDrive")
        assert "link" in why(root, "\\OneDrive\\example.txt")
        assert find_installations(root) == ()


def test_cloud_files_are_refused_and_plain_ones_beside_them_read(cloud: Path, tmp_path: Path) -> None:
    with mounted(cloud, tmp_path / "root", "rw") as root:
        os.removexattr(root / "OneDrive", "system.ntfs_reparse_data", follow_symlinks=False)
    with mounted(cloud, tmp_path / "root", "ro") as root:
        for name in ("created-online.txt", "always-keep-on-device.txt", "Documents"):
            assert "cloud" in why(root, f"\\OneDrive\\{name}")
        seen = observe_file(root, "\\OneDrive\\DESKTOP.INI")
        assert (seen.size, seen.first_bytes[:17]) == (95, b"[.ShellClassInfo]")
        assert seen.modified == datetime(2025, 9, 1, 13, 2, 55, 250291, tzinfo=UTC)
