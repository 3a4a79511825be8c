"""A small NTFS with a faulty driver folder, made and mounted by ntfs-3g, for the tests of repair and undo."""

from __future__ import annotations

import contextlib
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from unbrick.files import sync_directory
from unbrick.incidents.library import load_library
from unbrick.incidents.playbook import Playbook
from unbrick.model import FileFact, Finding, Verdict
from unbrick.repair.security import ADMINISTRATORS, SYSTEM
from unbrick.windows.ntfs_file import (
    FileAttributes,
    NtfsTimes,
    write_acl,
    write_attributes,
    write_short_name,
    write_times,
)
from unbrick.windows.observe import observe_file

PLAYBOOK = "crowdstrike-cf291"
DRIVERS = "\\Windows\\System32\\drivers"
CROWDSTRIKE = f"{DRIVERS}\\CrowdStrike"
FAULTY = f"{CROWDSTRIKE}\\C-00000291-00000000-00000032.sys"
ZEROED = f"{CROWDSTRIKE}\\C-00000291-00000000-00000029.sys"
GOOD = f"{CROWDSTRIKE}\\C-00000291-00000000-00000033.sys"
LOOKALIKE = f"{CROWDSTRIKE}\\C-00000290-00000000-00000032.sys"
HARD_LINK = "\\Windows\\Temp\\kept-by-a-tool.sys"
FOLDERS = ("\\Windows",)

_HEADER = bytes.fromhex("aaaaaaaa01002301")
_FAULTY_TIME = 133658357470000000  # 2024-07-19 04:09 UTC and some
_GOOD_TIME = 133658404800000000  # 2024-07-19 05:28 UTC
_RECORD = 1024
_EVERYONE = bytes.fromhex("010100000000000100000000")


def fill(root: Path) -> None:
    """Write to a mounted volume until there is no room for anything more."""
    for size in (1 << 20, 1 << 12, 1 << 9):
        with (
            contextlib.suppress(OSError),
            (root / f"filler-{size}").open("wb", buffering=0) as filler,
        ):
            while filler.write(bytes(size)):
                pass


def make_volume(
    image: Path, mountpoint: Path, *, neighbours: int = 4, mebibytes: int = 10, cluster: int = 4096
) -> None:
    """Write a volume; `neighbours` more files in the faulty folder make its index leave its record."""
    with image.open("wb") as stream:
        stream.truncate(mebibytes << 20)
    subprocess.run(
        ["mkntfs", "-q", "-F", "-f", "-c", str(cluster), str(image)], check=True, capture_output=True
    )
    with mounted(image, mountpoint) as root:
        folder = place(root, CROWDSTRIKE)
        folder.mkdir(parents=True)
        for number in range(neighbours):
            (folder / f"C-{number:08}-00000000-0000000{number % 10}.sys").write_bytes(
                b"neighbour %d" % number
            )
        _write(root, FAULTY, _HEADER + b"faulty" * 7000, _FAULTY_TIME, FileAttributes.SYSTEM, "C-0000~1.SYS")
        _write(root, ZEROED, bytes(9000), _FAULTY_TIME, FileAttributes.ARCHIVE, "C-0000~2.SYS")
        _write(root, GOOD, _HEADER + b"good" * 9000, _GOOD_TIME, FileAttributes.ARCHIVE, "C-0000~3.SYS")
        _write(root, LOOKALIKE, _HEADER + b"faulty" * 7000, _FAULTY_TIME, FileAttributes.ARCHIVE, None)
        os.setxattr(place(root, FAULTY), "user.Zone.Identifier", b"[ZoneTransfer]\r\nZoneId=3\r\n")
        write_acl(place(root, FAULTY), odd_descriptor())
        write_attributes(place(root, FAULTY), FileAttributes.SYSTEM | FileAttributes.HIDDEN)
        place(root, "\\Windows\\Temp").mkdir()
        write_times(folder, NtfsTimes(130000000000000001, 131000000000000002, 132000000000000003, 0))


def add_hard_link(root: Path) -> None:
    """A second long name for the faulty file, in another folder."""
    os.link(place(root, FAULTY), place(root, HARD_LINK))


def add_unlisted_name(image: Path, mountpoint: Path) -> None:
    """The same, but the other folder's record is as it was before on the disk: it does not list that name."""
    with mounted(image, mountpoint) as root:
        number = place(root, HARD_LINK).parent.lstat().st_ino
    with image.open("r+b") as stream:
        boot = stream.read(512)
        cluster = struct.unpack_from("<H", boot, 11)[0] * boot[13]
        at = struct.unpack_from("<Q", boot, 0x30)[0] * cluster + number * _RECORD
        stream.seek(at)
        former = stream.read(_RECORD)
        assert former.startswith(b"FILE")
        with mounted(image, mountpoint) as root:
            add_hard_link(root)
        stream.seek(at)
        stream.write(former)


def odd_descriptor() -> bytes:
    """An ACL that nothing would give a file by itself: SYSTEM's, read-only for Everyone."""
    ace = struct.pack("<BBHI", 0, 0, 8 + len(_EVERYONE), 0x00120089) + _EVERYONE
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(ace), 1, 0) + ace
    owner, group = 20, 20 + len(SYSTEM)
    dacl = group + len(ADMINISTRATORS)
    return struct.pack("<BBHIIII", 1, 0, 0x9004, owner, group, 0, dacl) + SYSTEM + ADMINISTRATORS + acl


@contextlib.contextmanager
def mounted(image: Path, mountpoint: Path, *more: str) -> Iterator[Path]:
    """Mount with ntfs-3g in the foreground, unmount, and wait for its end: only then has it flushed.

    `more`: further options of the mount.
    """
    mountpoint.mkdir(exist_ok=True)
    options = ",".join(("no_detach,streams_interface=xattr,noatime", *more))
    server = subprocess.Popen(
        ["ntfs-3g", "-o", options, str(image), str(mountpoint)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while not mountpoint.is_mount():
            if server.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"ntfs-3g did not mount {image.name}")
            time.sleep(0.005)
        yield mountpoint
    finally:
        _unmount(mountpoint)
        _end(server)


def _unmount(mountpoint: Path) -> None:
    """Unmount; what indexes or watches a machine's mounts may hold a new one for a moment."""
    for _ in range(100):
        if not mountpoint.is_mount():
            return
        if subprocess.run(["umount", str(mountpoint)], check=False, capture_output=True).returncode:
            time.sleep(0.05)


def _end(server: subprocess.Popen[bytes]) -> None:
    """Wait for the server's own end, or end it where a mount namespace made meanwhile keeps it."""
    try:
        server.wait(timeout=1)
    except subprocess.TimeoutExpired:
        server.terminate()
        server.wait(timeout=30)


def copy_volume(source: Path, target: Path) -> Path:
    """A copy to damage."""
    shutil.copyfile(source, target)
    return target


def place(root: Path, windows_path: str) -> Path:
    """Where a Windows path is below a mounted root."""
    return root.joinpath(*windows_path.strip("\\").split("\\"))


def playbooks() -> tuple[Playbook, ...]:
    """The library."""
    return load_library()


def findings(root: Path, paths: Sequence[str] = (FAULTY, ZEROED)) -> tuple[Finding, ...]:
    """What diagnosis would hand to repair about the faulty files."""
    facts = []
    for path in paths:
        seen = observe_file(root, path)
        facts.append(FileFact(path, seen.sha256, seen.size, seen.modified))
    return (Finding(PLAYBOOK, Verdict.FAULTY, tuple(facts), "faulty", action="quarantine"),)


def sync_of(root: Path) -> object:
    """What a mount of ours offers as `sync`, as far as a bare ntfs-3g needs it."""
    return lambda: sync_directory(root)


def _write(
    root: Path, path: str, data: bytes, modified: int, attributes: FileAttributes, short_name: str | None
) -> None:
    file = place(root, path)
    file.write_bytes(data)
    if short_name is not None:
        write_short_name(file, short_name)
    write_attributes(file, attributes)
    write_times(file, NtfsTimes(modified - 70000000, modified, modified + 50000000, 0))
