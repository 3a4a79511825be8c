"""What may be wiped: a real loop device, called a disk of this or that kind by a made-up lsblk."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pytest

from unbrick.errors import UsageError
from unbrick.media.stick.target import Content, Target, TargetKind, describe, look_at, refuse
from unbrick.processes.command import Result, Server, SystemRunner
from unbrick.secret import Secret

MIB = 1024 * 1024
STICK = {"type": "disk", "rm": True, "tran": "usb", "vendor": "ACME   ", "model": "Blade", "serial": "4C53"}


class SayingRunner:
    """Real programs, but for lsblk."""

    def __init__(self, **facts: object) -> None:
        self._facts = facts

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float,
        stdin: bytes | Secret | None = None,
        ok: Collection[int] | None = (0,),
        pass_fds: Sequence[int] = (),
    ) -> Result:
        if argv[0] == "lsblk":
            return Result(tuple(argv), 0, json.dumps({"blockdevices": [self._facts]}).encode(), b"")
        return SystemRunner().run(argv, timeout=timeout, stdin=stdin, ok=ok, pass_fds=pass_fds)

    def start(self, argv: Sequence[str], *, pass_fds: Sequence[int] = ()) -> Server:
        raise AssertionError(argv)

    def has(self, program: str) -> bool:
        raise AssertionError(program)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "disk.img"
    with path.open("wb") as stream:
        stream.truncate(64 * MIB)
    return path


@pytest.fixture
def device(file: Path) -> Iterator[Path]:
    made = subprocess.run(["losetup", "--find", "--show", file], capture_output=True, text=True, check=True)
    yield Path(made.stdout.strip())
    subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_stick_is_told_by_name_serial_number_and_size(device: Path) -> None:
    target = look_at(device, SayingRunner(**STICK))
    assert (target.model, target.serial, target.size, target.removable) == (
        "ACME Blade",
        "4C53",
        64 * MIB,
        True,
    )
    refuse(target, None)
    assert f"{device}: ACME Blade, serial number 4C53, 67.1 MB" in "\n".join(describe(target))


@pytest.mark.parametrize(
    ("facts", "removable"),
    [
        ({"rm": False, "tran": "sata"}, False),
        ({"rm": False, "tran": "nvme"}, False),
        ({"rm": False, "tran": None}, False),
        ({"rm": False, "tran": "usb"}, True),
        ({"rm": True, "tran": None}, True),
    ],
)
def test_a_disk_that_is_built_in_is_refused_unless_its_serial_number_is_said(
    device: Path, facts: dict[str, object], removable: bool
) -> None:
    target = look_at(device, SayingRunner(**{**STICK, **facts}))
    assert target.removable is removable
    if removable:
        refuse(target, None)
        return
    with pytest.raises(UsageError, match="not removable") as refused:
        refuse(target, None)
    assert refused.value.hint is not None
    assert "--serial 4C53" in refused.value.hint
    refuse(target, "4c53 ")


def test_the_wrong_serial_number_is_refused_though_nothing_else_speaks_against_it(device: Path) -> None:
    for facts in (STICK, {**STICK, "serial": None}):
        with pytest.raises(UsageError, match="and not 4C54"):
            refuse(look_at(device, SayingRunner(**facts)), "4C54")


@pytest.mark.parametrize(
    "facts",
    [
        {"type": "part"},
        {"type": "rom"},
        {"type": "crypt"},
        {"type": "raid1"},
        {"type": "disk", "ro": True},
        {"type": "disk", "log-sec": 4096},
        {},
    ],
)
def test_what_is_no_stick_is_refused(device: Path, facts: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        look_at(device, SayingRunner(**{"rm": True, **facts}))


@pytest.mark.parametrize("name", ["/dev/null", "/dev/nosuch", "/"])
def test_what_is_no_disk_is_refused(name: str) -> None:
    with pytest.raises(UsageError):
        look_at(Path(name), SystemRunner())


def fat(file: Path, offset: int, *folders: str) -> None:
    place = file.with_name("fat.img")
    with place.open("wb") as stream:
        stream.truncate(40 * MIB)
    subprocess.run(["mkfs.fat", "-F", "32", "-n", "PHOTOS", place], check=True, capture_output=True)
    for folder in folders:
        subprocess.run(["mmd", "-i", place, f"::/{folder}"], check=True)
    with file.open("r+b") as stream:
        stream.seek(offset)
        stream.write(place.read_bytes())


def partition(file: Path, kind: str) -> None:
    script = f"label: gpt\nstart=2048, size=81920, type={kind}, name=data\n"
    subprocess.run(["sfdisk", "-q", file], input=script.encode(), check=True, capture_output=True)


BASIC = "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"


def test_what_lies_on_it_is_told_with_its_label(file: Path) -> None:
    partition(file, BASIC)
    fat(file, MIB)
    target = look_at(file, SystemRunner())
    assert target.contents == (Content(1, 40 * MIB, "vfat", "PHOTOS"),)
    assert "partition 1, 41.9 MB: vfat 'PHOTOS'" in "\n".join(describe(target))
    refuse(target, None)


def test_windows_is_recognised_by_its_volumes_its_boot_files_and_its_partition_types(file: Path) -> None:
    def why() -> str | None:
        target = look_at(file, SystemRunner())
        if target.windows:
            with pytest.raises(UsageError, match="holds a Windows"):
                refuse(target, None)
        return target.windows

    fat(file, 0, "EFI", "EFI/Boot")
    assert why() is None
    fat(file, 0, "EFI", "EFI/MICROSOFT")
    assert why() is not None
    file.write_bytes(bytes(64 * MIB))
    partition(file, "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
    fat(file, MIB, "efi", "efi/microsoft")
    assert why() == "partition 1 has Windows' boot files (EFI\\Microsoft)"
    partition(file, "E3C9E316-0B5C-4DB8-817D-F92DF00215AE")
    assert why() == "partition 1 is of a type that only Windows makes"
    file.write_bytes(bytes(64 * MIB))
    subprocess.run(["mkntfs", "-q", "-F", "-f", file], check=True, capture_output=True)
    assert why() == "it is NTFS"


@pytest.mark.parametrize(("mark", "word"), [(b"-FVE-FS-", "BitLocker"), (b"NTFS    ", "NTFS")])
def test_a_volume_of_windows_that_is_too_damaged_for_blkid_is_one_still(
    file: Path, mark: bytes, word: str
) -> None:
    partition(file, BASIC)
    with file.open("r+b") as stream:
        stream.seek(MIB + 3)
        stream.write(mark)
    assert look_at(file, SystemRunner()).windows == f"partition 1 is {word}"


def test_a_reader_without_a_card_is_refused(tmp_path: Path) -> None:
    target = Target(tmp_path, TargetKind.DISK, 0, "Reader", "1", True, ())
    with pytest.raises(UsageError, match="no card in the reader"):
        refuse(target, None)
