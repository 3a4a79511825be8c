"""Images in odd places: open elsewhere, not writable, oddly named, on a full file system; as nobody."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from support.contract_schema import EXIT_CODES
from support.crashed_image import leave_log
from support.drilled import Drilled, Drills
from support.program import Argument, Ended, run_program

from unbrick.drill.disk.truth import sha256_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

MIB = 1024 * 1024
ENTRY = Path(sys.executable).with_name("unbrick")


def _answer(image: Path, *arguments: Argument) -> tuple[str, str | None]:
    verb, *options = arguments
    ended = run_program(verb, image, *options, "--json")
    assert ended.code == EXIT_CODES[ended.document["status"]]
    return ended.document["status"], ended.document["reason"]


def _run(*argv: Argument) -> str:
    return subprocess.run(list(map(str, argv)), check=True, capture_output=True, text=True).stdout.strip()


# Open in another program, which takes no lock.


@contextmanager
def _open_for_writing(image: Path) -> Iterator[None]:
    with image.open("r+b"):
        yield


@contextmanager
def _mapped_for_writing(image: Path) -> Iterator[None]:
    with image.open("r+b") as stream:
        mapped = mmap.mmap(stream.fileno(), 4096)
    yield
    mapped.close()


@pytest.mark.parametrize("kind", ["plain", "qcow2", "vhdx"])
@pytest.mark.parametrize("held", [_open_for_writing, _mapped_for_writing])
def test_an_image_that_another_program_writes_is_left_alone(
    drills: Drills, tmp_path: Path, kind: str, held: Callable[[Path], AbstractContextManager[None]]
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    with held(disk.image):
        ended = run_program("repair", disk.image, "--yes", "--json")
        assert (ended.document["status"], ended.document["reason"]) == ("needs-hands", "disk-in-use")
        assert "open for writing" in ended.document["error"]
        if "cannot be seen" not in ended.document["error"]:
            assert f"(process {os.getpid()})" in ended.document["error"]
    with disk.image.open("rb"):
        assert _answer(disk.image, "repair", "--yes") == ("repaired", None)


def test_a_writer_outside_of_our_container_is_seen_too(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    inside = ["unshare", "--pid", "--fork", "--mount-proc", str(ENTRY), "repair", str(disk.image), "--yes"]
    with disk.image.open("r+b"):
        ended = subprocess.run(inside, capture_output=True, text=True, check=False)
    assert ended.returncode == EXIT_CODES["needs-hands"], ended
    assert "[disk-in-use]" in ended.stdout
    assert "cannot be seen from here" in ended.stdout
    assert subprocess.run(inside, capture_output=True, check=False).returncode == 0


def test_a_block_device_that_another_program_writes_is_left_alone(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    device = Path(_run("losetup", "--find", "--show", disk.image))
    try:
        with device.open("r+b"):
            ended = run_program("repair", device, "--yes", "--json")
            assert ended.document["reason"] == "disk-in-use"
            assert f"(process {os.getpid()})" in ended.document["error"]
        above = _run("losetup", "--find", "--show", device)
        try:
            assert _answer(device, "repair", "--yes") == ("needs-hands", "disk-in-use")
        finally:
            _run("losetup", "--detach", above)
        assert _answer(device, "repair", "--yes") == ("repaired", None)
    finally:
        _run("losetup", "--detach", device)


# Readable, and not writable.


@contextmanager
def _on_a_read_only_file_system(image: Path) -> Iterator[None]:
    folder = image.parent
    _run("mount", "--bind", folder, folder)
    try:
        _run("mount", "-o", "remount,bind,ro", folder)
        yield
    finally:
        _run("umount", folder)


@contextmanager
def _marked(image: Path, mark: str) -> Iterator[None]:
    _run("chattr", f"+{mark}", image)
    try:
        yield
    finally:
        _run("chattr", f"-{mark}", image)


@contextmanager
def _immutable(image: Path) -> Iterator[None]:
    with _marked(image, "i"):
        yield


@contextmanager
def _append_only(image: Path) -> Iterator[None]:
    with _marked(image, "a"):
        yield


@pytest.mark.parametrize("kind", ["plain", "qcow2", "vhdx", "vmdk"])
@pytest.mark.parametrize("protected", [_on_a_read_only_file_system, _immutable, _append_only])
def test_an_image_that_cannot_be_written_is_looked_at_and_not_repaired(
    drills: Drills, tmp_path: Path, kind: str, protected: Callable[[Path], AbstractContextManager[None]]
) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    if kind == "vhdx":
        leave_log(disk.image, 8 * MIB)
    before = disk.digest()
    with protected(disk.image):
        assert _answer(disk.image, "scan") == ("scanned", None)
        assert _answer(disk.image, "diagnose") == ("found", None)
        for options in (("--dry-run",), ("--yes",)):
            ended = run_program("repair", disk.image, *options, "--json")
            assert (ended.document["status"], ended.document["reason"]) == ("needs-hands", "read-only")
            assert str(disk.image) in ended.document["error"]
            assert "what to do" in ended.err
    assert disk.digest() == before
    assert _answer(disk.image, "repair", "--yes") == ("repaired", None)
    with protected(disk.image):
        assert _answer(disk.image, "diagnose") == ("healthy", None)
        assert _answer(disk.image, "repair", "--yes") == ("healthy", None)
        assert _answer(disk.image, "undo", "--yes") == ("needs-hands", "read-only")


# Oddly named.

NAMES = [
    b"not utf-8 \xff\xfe",
    b"a,b",
    b"two\nlines\nTYPE=crypto_LUKS\n",
    b"\x1b[31mred",
    b"x@@1024",
    b"-dash",
    b"--yes",
    "Fehlerbehebung für Müller ☃".encode(),
    b"l" + b"o" * 240 + b"ng",
    b"%s{}$HOME`id`\"'",
]


@pytest.mark.parametrize(
    ("kind", "name"),
    [*((kind, name) for name in NAMES for kind in ("plain", "qcow2")), ("xts-128", NAMES[0])],
    ids=lambda one: repr(one[:12]),
)
def test_an_odd_name_changes_nothing(drills: Drills, tmp_path: Path, kind: str, name: bytes) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    odd = disk.image.with_name(os.fsdecode(name) + disk.image.suffix)
    disk.image.rename(odd)
    ended = run_program("repair", odd, "--keys", disk.keys, "--yes", "--json")
    assert ended.document["status"] == "repaired", ended
    odd.rename(disk.image)
    assert disk.complaints(repaired=True) == ()


def test_an_image_of_several_files_in_an_oddly_named_folder(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    folder = tmp_path / os.fsdecode(b"odd \xff,\n")
    folder.mkdir()
    argv = ["qemu-img", "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=twoGbMaxExtentSparse"]
    _run(*argv, disk.image, tmp_path / "disks" / "web.vmdk")
    for part in ("web.vmdk", "web-s001.vmdk"):
        (tmp_path / "disks" / part).rename(folder / part)
    assert _answer(folder / "web.vmdk", "repair", "--yes") == ("repaired", None)


def test_a_name_that_no_system_call_takes_is_told(tmp_path: Path) -> None:
    ended = run_program("diagnose", tmp_path / ("x" * 300 + ".img"))
    assert ended.code == EXIT_CODES["failed"]
    assert "[unreadable-disk]" in ended.out
    assert "File name too long" in ended.out


# A full file system.


@contextmanager
def _small_file_system(folder: Path, size: int) -> Iterator[None]:
    folder.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
    try:
        yield
    finally:
        _run("umount", folder)


@pytest.mark.parametrize("kind", ["plain", "qcow2"])
def test_a_full_file_system_below_an_image_is_named(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    small = tmp_path / "small"
    with _small_file_system(small, 96 * MIB):
        image = small / disk.image.name
        _run("cp", "--sparse=always", disk.image, image)
        before = sha256_of(image)
        filler = small / "filler"
        free = os.statvfs(small).f_bfree * os.statvfs(small).f_frsize
        filler.write_bytes(bytes(free))
        assert _answer(image, "diagnose") == ("found", None)
        for options in (("--dry-run",), ("--yes",)):
            ended = run_program("repair", image, *options, "--json")
            assert (ended.document["status"], ended.document["reason"]) == ("needs-hands", "disk-full")
            assert f"the file system {small} is full" in ended.document["error"]
            assert "failing" not in ended.said
        assert sha256_of(image) == before
        filler.unlink()
        assert _answer(image, "repair", "--yes") == ("repaired", None)


# A name that says nothing, a mark that is stale.


@pytest.mark.parametrize("kind", ["plain", "qcow2", "vhdx", "vmdk"])
@pytest.mark.parametrize("name", ["volume", "web.vda", "disk.img.1"])
def test_a_person_says_what_kind_of_image_it_is(drills: Drills, tmp_path: Path, kind: str, name: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    image = disk.image.with_name(name)
    disk.image.rename(image)
    word = "raw" if kind == "plain" else kind
    asked = run_program("diagnose", image)
    assert asked.code == EXIT_CODES["needs-hands"]
    assert "[image-mismatch]" in asked.out
    assert "--format raw" in asked.out
    wrong = "qcow2" if kind == "plain" else "raw"
    assert _answer(image, "repair", "--yes", "--format", wrong) == ("needs-hands", "image-mismatch")
    assert _answer(image, "scan", "--format", word) == ("scanned", None)
    assert _answer(image, "diagnose", "--format", word) == ("found", None)
    assert _answer(image, "repair", "--yes", "--format", word) == ("repaired", None)
    assert _answer(image, "runs", "--format", word) == ("scanned", None)
    assert _answer(image, "undo", "--yes", "--format", word) == ("undone", None)
    spoken = run_program("diagnose", image, "--format", word)
    assert f"--format {word}" in spoken.out, "the command that is named next works, too"


def test_a_name_that_says_something_is_not_overruled(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks", "disk.qcow2")
    assert _answer(disk.image, "repair", "--yes", "--format", "raw") == ("needs-hands", "image-mismatch")
    ended = run_program("diagnose", disk.image, "--format", "vdi")
    assert ended.code == 2
    device = _run("losetup", "--find", "--show", disk.image)
    try:
        assert _answer(Path(device), "diagnose", "--format", "qcow2") == ("needs-hands", "image-mismatch")
        assert _answer(Path(device), "diagnose", "--format", "raw") == ("found", None)
    finally:
        _run("losetup", "--detach", device)


def test_a_base_without_an_extension_is_what_the_image_above_it_says(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    base = disk.image.rename(disk.image.with_name("base"))
    top = base.with_name("top.qcow2")
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", "base", "-F", "raw", top)
    before = sha256_of(base)
    assert _answer(top, "repair", "--yes") == ("repaired", None)
    assert sha256_of(base) == before


def _mark_as_raid(disk: Drilled) -> None:
    with disk.image.open("r+b") as stream:
        stream.seek(-1024, os.SEEK_END)
        stream.write(b"Intel Raid ISM Cfg Sig. 1.3.00")


def test_a_stale_raid_mark_is_ignored_only_where_a_person_says_so(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    _mark_as_raid(disk)
    before = disk.digest()
    ignore = ("--ignore-signature", "raid")
    for verb in (("diagnose",), ("repair", "--yes")):
        assert _answer(disk.image, *verb) == ("needs-hands", "raid-member")
    assert disk.digest() == before
    found = run_program("diagnose", disk.image, *ignore)
    assert found.code == EXIT_CODES["found"]
    assert "Intel RAID (IMSM)" in found.out
    assert "--ignore-signature raid" in found.out.partition("what to do")[2]
    ended = run_program("repair", disk.image, *ignore, "--yes", "--json")
    assert ended.document["status"] == "repaired"
    assert "ignored, as --ignore-signature raid says: it is marked as a member of an Intel RAID" in ended.err
    assert _answer(disk.image, "undo", "--yes") == ("needs-hands", "raid-member")
    assert _answer(disk.image, "undo", "--yes", *ignore) == ("undone", None)


def test_nothing_else_than_a_raid_is_ignored(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    ended = run_program("diagnose", disk.image, "--ignore-signature", "raid", "--json")
    assert ended.document["status"] == "found"
    assert "was not needed" in ended.err
    with disk.image.open("r+b") as stream:
        stream.seek(disk.volume.offset)
        stream.write(b"LUKS\xba\xbe")
    ended = run_program("diagnose", disk.image, "--ignore-signature", "raid", "--json")
    assert ended.document["reason"] == "foreign-encryption:luks"
    assert run_program("diagnose", disk.image, "--ignore-signature", "luks").code == 2


# By somebody who may not.


def test_without_root_every_disk_gets_the_same_line(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    disk.image.chmod(0o600)
    device = _run("losetup", "--find", "--show", disk.image)
    try:
        said = set()
        for path in (disk.image, Path(device), Path("/dev/no-such-disk")):
            for verb in ("scan", "diagnose", "runs"):
                ended = _as_nobody(verb, path, "--json")
                assert (ended.document["status"], ended.document["reason"]) == ("failed", "needs-root")
                assert ended.code == EXIT_CODES["failed"]
                said.add(ended.document["error"])
        assert said == {"opening disks and images needs root"}
    finally:
        _run("losetup", "--detach", device)


def _as_nobody(*arguments: Argument) -> Ended:
    argv = [str(ENTRY), *map(str, arguments)]
    ended = subprocess.run(argv, capture_output=True, text=True, check=False, user=65534, group=65534)
    return Ended(ended.returncode, ended.stdout, ended.stderr)
