"""Bad input from outside: one clear line, the right status and exit code, nothing written, nothing left."""

from __future__ import annotations

import os
import random
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.contract_schema import EXIT_CODES, check_document
from support.drilled import Drilled, Drills
from support.program import run_program

from unbrick.drill.disk.truth import sha256_of

pytestmark = pytest.mark.usefixtures("leaves_nothing")

_MIB = 1024 * 1024
_VERBS = (("scan",), ("diagnose",), ("repair", "--dry-run"), ("repair", "--yes"), ("undo", "--yes"))


def _say_no(path: Path, status: str, reason: str, verbs: tuple[tuple[str, ...], ...] = _VERBS) -> str:
    """Every verb gives the same answer, leaves the file and its folder as they are; gives the sentence."""
    before = (_digest(path), sorted(path.parent.iterdir()))
    said = ""
    for verb, *options in verbs:
        ended = run_program(verb, path, *options, "--json")
        check_document(ended.document)
        found = (ended.document["status"], ended.document["reason"])
        if verb == "scan" and found == ("scanned", None):
            continue
        assert found == (status, reason), (verb, ended)
        assert ended.code == EXIT_CODES[status]
        said = ended.document["error"]
        assert said
        assert "\n" not in said
    assert (_digest(path), sorted(path.parent.iterdir())) == before
    spoken = run_program("diagnose", path)
    assert spoken.err == ""
    assert spoken.out.count(said) == 1
    assert f"[{reason}]" in spoken.out
    assert "what to do: " in spoken.out
    return said


def _digest(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def test_no_disk_is_wrong_usage() -> None:
    for verb in ("scan", "diagnose", "repair", "undo"):
        ended = run_program(verb)
        assert (ended.code, ended.out) == (2, "")
        assert "DISK" in ended.err
    for wrong in (
        ("repair", "--no-such-option", "disk.img"),
        ("no-such-verb",),
        ("tally", "serve"),
        ("scan",),
    ):
        ended = run_program(*wrong)
        assert (ended.code, ended.out) == (2, ""), wrong
        refused = run_program(*wrong, "--json")
        assert refused.refusal["error"] in " ".join(refused.err.split()), wrong
        assert "--help" in refused.refusal["hint"]
    assert run_program("scan", "--", "--json").out.startswith("--json: FAILED")


def test_what_is_no_disk(tmp_path: Path) -> None:
    folder = tmp_path / "folder.img"
    folder.mkdir()
    pipe = tmp_path / "pipe.img"
    os.mkfifo(pipe)
    dangling = tmp_path / "link.img"
    dangling.symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "missing.img", folder, folder / "x" / "y.img", pipe, dangling, Path("/dev/null")):
        ended = run_program("repair", path, "--yes", "--json")
        assert (ended.document["status"], ended.document["reason"]) == ("failed", "not-found"), path
        assert ended.code == 1
        assert ended.document["error"].startswith(str(path))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty-disk"),
        (bytes(512), "no-windows"),
        (b"\xeb\x52\x90NTFS    " + bytes(501), "damaged-volume"),
        (random.Random(7).randbytes(3 * _MIB + 77), "no-windows"),
        (bytes(510) + b"\x55\xaa" + bytes(_MIB), "no-windows"),
    ],
    ids=["empty", "one sector", "an NTFS of one sector", "noise", "an empty MBR"],
)
def test_a_file_that_holds_no_disk(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "disks" / "disk.img"
    path.parent.mkdir()
    path.write_bytes(content)
    _say_no(path, "needs-hands", reason)


def test_a_disk_that_is_cut_off_within_a_partition(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    for left in (disk.volume.offset + disk.volume.length - 512, 80 * _MIB):
        os.truncate(disk.image, left)
        _say_no(disk.image, "needs-hands", "truncated")


@pytest.mark.parametrize("missing", [512, 4096, _MIB - 512])
def test_a_disk_that_lacks_only_its_last_sectors_is_repaired(
    drills: Drills, tmp_path: Path, missing: int
) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    os.truncate(disk.image, disk.image.stat().st_size - missing)
    ended = run_program("repair", disk.image, "--yes", "--json")
    assert ended.document["status"] == "repaired"
    assert f"{missing} bytes shorter" in ended.err
    assert disk.complaints(repaired=True) == ()
    assert run_program("undo", disk.image, "--yes", "--json").document["status"] == "undone"
    assert disk.complaints(repaired=False) == ()


@pytest.mark.parametrize("kind", ["qcow2", "vhdx", "vmdk"])
def test_an_image_that_is_cut_off(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    os.truncate(disk.image, disk.image.stat().st_size // 3)
    _say_no(disk.image, "needs-hands", "truncated")


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("plain", "disk.qcow2"),
        ("plain", "disk.vhdx"),
        ("plain", "disk.vmdk"),
        ("plain", "disk.iso"),
        ("plain", "disk"),
        ("qcow2", "disk"),
        ("qcow2", "disk.img"),
        ("qcow2", "disk.vmdk"),
        ("vhdx", "disk.qcow2"),
        ("vmdk", "disk.raw"),
    ],
)
def test_an_image_that_is_not_what_its_name_says(
    drills: Drills, tmp_path: Path, kind: str, name: str
) -> None:
    disk = drills.copy(kind, tmp_path / "disks", name)
    said = _say_no(disk.image, "needs-hands", "image-mismatch", (("scan",), ("repair", "--yes")))
    assert name in said


@dataclass(frozen=True)
class _Damage:
    reason: str
    do: Callable[[Drilled], None]


@contextmanager
def _writing(disk: Drilled) -> Iterator[Callable[[int, bytes], None]]:
    with disk.image.open("r+b") as stream:

        def write(at: int, data: bytes) -> None:
            stream.seek(at)
            stream.write(data)

        yield write


def _mft_of(disk: Drilled) -> tuple[int, int]:
    """Where the file table and its mirror lie on the disk, in bytes."""
    with disk.image.open("rb") as stream:
        stream.seek(disk.volume.offset)
        sector = stream.read(512)
    cluster = sector[13] * struct.unpack_from("<H", sector, 11)[0]
    table, mirror = struct.unpack_from("<QQ", sector, 0x30)
    return disk.volume.offset + table * cluster, disk.volume.offset + mirror * cluster


def _break_both_tables(disk: Drilled) -> None:
    size = disk.image.stat().st_size
    with _writing(disk) as write:
        for header in (512, size - 512):
            write(header + 16, b"\xff\xff\xff\xff")


def _break_boot_sector(disk: Drilled) -> None:
    with _writing(disk) as write:
        write(disk.volume.offset + 11, b"\xff" * 40)


def _grow_the_file_system(disk: Drilled) -> None:
    """As where a partition was made smaller, and its file system was not."""
    with disk.image.open("rb") as stream:
        stream.seek(disk.volume.offset + 0x28)
        (sectors,) = struct.unpack("<Q", stream.read(8))
    with _writing(disk) as write:
        write(disk.volume.offset + 0x28, struct.pack("<Q", sectors + 4096))


def _wipe_boot_sector(disk: Drilled) -> None:
    with _writing(disk) as write:
        write(disk.volume.offset, bytes(512))


def _break_file_table(disk: Drilled) -> None:
    with _writing(disk) as write:
        for place in _mft_of(disk):
            write(place, random.Random(3).randbytes(4096))


def _break_most_of_the_file_table(disk: Drilled) -> None:
    with _writing(disk) as write:
        write(_mft_of(disk)[0] + 16 * 1024, random.Random(5).randbytes(200 * 1024))


@pytest.mark.parametrize(
    "damage",
    [
        _Damage("damaged-table", _break_both_tables),
        _Damage("damaged-volume", _break_boot_sector),
        _Damage("truncated", _grow_the_file_system),
        _Damage("damaged-volume", _wipe_boot_sector),
        _Damage("damaged-volume", _break_file_table),
        _Damage("unreadable-file", _break_most_of_the_file_table),
    ],
    ids=lambda damage: damage.do.__name__,
)
def test_a_damaged_disk(drills: Drills, tmp_path: Path, damage: _Damage) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    damage.do(disk)
    verbs = (("scan",), ("diagnose",), ("repair", "--dry-run"), ("repair", "--yes"))
    _say_no(disk.image, "needs-hands", damage.reason, verbs)


def test_noise_in_the_fault_itself_is_left_to_a_person(drills: Drills, tmp_path: Path) -> None:
    """A BitLocker volume whose metadata is gone in all three places is no volume without a fault."""
    disk = drills.copy("xts-128", tmp_path / "disks")
    with disk.image.open("rb") as stream:
        stream.seek(disk.volume.offset + 0xB0)
        places = struct.unpack("<3Q", stream.read(24))
    with _writing(disk) as write:
        for place in places:
            write(disk.volume.offset + place, random.Random(9).randbytes(8192))
    _say_no(disk.image, "needs-hands", "damaged-metadata")


_DIGITS = "123456-123456-123456-123456-123456-123456-123456-123456"
_BAD_KEYS = {
    "binary": random.Random(4).randbytes(3000),
    "empty": b"",
    "prose": b"these are\nnot the keys\n",
    "a bad password": f"KeyID,RecoveryKey\nx,{_DIGITS}\n".encode(),
    "a workbook": b"PK\x03\x04" + bytes(100),
    "json": b'{"value": []}',
}


@pytest.mark.parametrize("content", _BAD_KEYS.values(), ids=_BAD_KEYS.keys())
def test_a_keys_file_that_is_none(drills: Drills, tmp_path: Path, content: bytes) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    before = disk.digest()
    keys = tmp_path / "bad.csv"
    keys.write_bytes(content)
    ended = run_program("repair", disk.image, "--keys", keys, "--yes", "--json")
    assert ended.refusal["error"].startswith("bad.csv ")
    assert ended.refusal["hint"]
    assert ended.err.startswith("unbrick: bad.csv ")
    assert ended.err.count("\n") == 2
    assert _DIGITS[:6] not in ended.said
    assert disk.digest() == before


def test_a_keys_file_that_is_missing_or_an_empty_folder_or_a_password(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    before = disk.digest()
    (empty := tmp_path / "empty").mkdir()
    for name in (str(tmp_path / "missing.csv"), str(empty), "", _DIGITS, "ldap://server"):
        ended = run_program("diagnose", disk.image, "--keys", name, "--json")
        assert ended.refusal["error"], name
        assert ended.err.startswith("unbrick: ")
        assert _DIGITS[:6] not in ended.said
    assert disk.digest() == before


def test_keys_come_from_a_folder_and_from_standard_input(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    ((protector, password),) = disk.passwords().items()
    (keys := tmp_path / "keys").mkdir()
    (keys / f"BitLocker Recovery Key {protector}.TXT").write_text(
        f"Identifier:\r\n\r\n\t{protector}\r\n\r\nRecovery Key:\r\n\r\n\t{password}\r\n", encoding="utf-16"
    )
    ended = run_program("diagnose", disk.image, "--keys", keys, "--json")
    assert (ended.code, ended.document["status"]) == (3, "found")
    ended = run_program("diagnose", disk.image, "--keys", "-", "--json", stdin=f"RecoveryKey\n{password}\n")
    assert (ended.code, ended.document["status"]) == (3, "found")


def test_bad_lines_are_named_by_number_and_the_good_ones_work(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("xts-128", tmp_path / "disks")
    ((protector, password),) = disk.passwords().items()
    lines = ["KeyID,RecoveryKey", f"{protector},{_DIGITS}", "nonsense", f"{protector},{password}"]
    disk.keys.write_text("\n".join(lines) + "\n")
    for options in ((), ("--json",)):
        ended = run_program("diagnose", disk.image, "--keys", disk.keys, *options)
        assert ended.code == 3
        assert [line.split(":")[1].split()[-2:] for line in ended.err.splitlines()] == [
            ["line", "2"],
            ["line", "3"],
        ]
        for secret in (_DIGITS, password):
            assert not any(group in ended.said for group in secret.split("-"))


def test_an_image_that_points_at_another_file_is_refused(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "elsewhere")
    folder = tmp_path / "disks"
    folder.mkdir()
    image = folder / "disk.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(disk.image), str(image)]
    subprocess.run(argv, check=True)
    before = disk.digest()
    _say_no(image, "needs-hands", "image-unsafe")
    assert disk.digest() == before


def test_a_disk_that_is_in_use_is_left_alone(drills: Drills, tmp_path: Path) -> None:
    disk = drills.copy("plain", tmp_path / "disks")
    argv = ["losetup", "--find", "--show", str(disk.image)]
    device = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
    try:
        _say_no(disk.image, "needs-hands", "disk-in-use", (("repair", "--yes"),))
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)
    assert run_program("repair", disk.image, "--yes", "--json").document["status"] == "repaired"


@pytest.mark.parametrize("kind", ["plain", "crashed"])
def test_one_good_table_of_two_is_enough(drills: Drills, tmp_path: Path, kind: str) -> None:
    disk = drills.copy(kind, tmp_path / "disks")
    with _writing(disk) as write:
        write(512 + 16, b"\xff\xff\xff\xff")
    ended = run_program("repair", disk.image, "--yes", "--json")
    assert ended.document["status"] == "repaired"
    assert "backup" in ended.err
    assert disk.complaints(repaired=True) == ()


def test_who_is_not_root_is_told_so_of_a_device_as_of_an_image(drills: Drills, tmp_path: Path) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    image = drills.copy("plain", tmp_path / "disks").image
    device = next(Path("/dev").glob("loop[0-9]*"))
    for verb in ("scan", "repair", "runs"):
        consent = ("--yes",) if verb == "repair" else ()
        for disk in (image, device):
            ended = run_program(verb, disk, *consent, "--json", inside=nobody)
            assert (ended.document["status"], ended.document["reason"]) == ("failed", "needs-root")
            assert "sudo" in ended.document["hint"]
            assert ended.code == 1
    assert run_program("runs", device, inside=nobody).out.startswith(f"{device}: FAILED\n")
