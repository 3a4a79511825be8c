"""All volumes that a real Windows encrypted, opened by what each has; no key is in an argument list."""

from __future__ import annotations

import configparser
import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from support.artefacts import artefact
from support.recorded_runner import RecordedRunner

from unbrick.disks.bitlocker.master_key import KeyWrongError, find_keys
from unbrick.disks.bitlocker.metadata import read_metadata
from unbrick.disks.bitlocker.unlock import _key_for_cryptsetup, unlock
from unbrick.disks.disk import Disk
from unbrick.disks.plain import open_plain
from unbrick.errors import FailedError, NeedsHandsError
from unbrick.model import Volume, VolumeKind, VolumeState
from unbrick.processes.command import Server, SystemRunner
from unbrick.secret import Secret

CONVERTING = ("bitlk-partially-encrypted-aes-cbc-128", "bitlk-aes-xts-128-eow")
NAMES = [
    "aes-cbc-128",
    "aes-cbc-256",
    "aes-xts-128",
    "aes-xts-256",
    "aes-cbc-elephant-128",
    "aes-cbc-elephant-256",
    "togo-aes-cbc-128",
    "togo-aes-xts-128",
    "aes-xts-128-new-entry",
    "aes-xts-128-smart-card",
    "aes-cbc-128-4k",
    "aes-xts-128-4k",
    "aes-xts-128-startup-key",
    "aes-xts-128-startup-key-win11",
    "aes-xts-128-two-recovery",
    "aes-xts-128-unicode",
    "aes-xts-128-crc",
    "aes-xts-128-clearkey-only",
    "aes-xts-128-first-recovery",
]


class Images:
    """The unpacked images and what is known of each."""

    def __init__(self, folder: Path) -> None:
        subprocess.run(["tar", "-xJf", artefact("bitlk/bitlk-images.tar.xz"), "-C", folder], check=True)
        self._folder = folder / "bitlk-images"
        self._known = configparser.ConfigParser(interpolation=None)
        self._known.read(self._folder / "images.conf")

    def known(self, name: str) -> configparser.SectionProxy:
        return self._known[name]

    def disk(self, name: str) -> tuple[Disk, Volume]:
        path = self._folder / f"{name}.img"
        size = path.stat().st_size
        volume = Volume(None, 0, size, VolumeKind.BITLOCKER, VolumeState.LOCKED)
        return Disk(path, path, size, 512, None, (volume,)), volume

    def password(self, name: str, field: str = "RP") -> Secret | None:
        text = self._known[name].get(field)
        return Secret(text) if text else None


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    return Images(tmp_path_factory.mktemp("bitlk"))


class WatchingRunner(SystemRunner):
    """Runs real programs and keeps their arguments."""

    def __init__(self) -> None:
        self.started: list[tuple[str, ...]] = []

    def start(self, argv: Sequence[str], **how: Any) -> Server:
        self.started.append(tuple(argv))
        return super().start(argv, **how)


def sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@pytest.mark.parametrize("name", [f"bitlk-{name}" for name in NAMES])
def test_unlocks_to_the_known_bytes(images: Images, name: str, tmp_path: Path) -> None:
    disk, volume = images.disk(name)
    password = images.password(name)
    runner = WatchingRunner()
    with unlock(disk, volume, password, runner, tmp_path) as plain:
        assert sha256(plain) == images.known(name)["SHA256SUM"]
    (argv,) = runner.started
    assert ("-F3" if name.endswith("-crc") else "-F1") in argv  # the copy that was proved, and no other
    if password is not None:
        assert password.reveal().decode() not in " ".join(argv)
    assert list(tmp_path.rglob("*")) == list(tmp_path.iterdir())  # nothing is mounted there any more


def test_every_image_is_spoken_for(images: Images) -> None:
    assert {f"bitlk-{name}" for name in NAMES} | set(CONVERTING) == set(images._known.sections())
    assert len(NAMES) == 19


@pytest.mark.parametrize("name", CONVERTING)
def test_converting_is_refused_before_any_program(images: Images, name: str, tmp_path: Path) -> None:
    disk, volume = images.disk(name)
    runner = WatchingRunner()
    with (
        pytest.raises(NeedsHandsError) as caught,
        unlock(disk, volume, images.password(name), runner, tmp_path),
    ):
        pass
    assert caught.value.reason == "converting"
    assert runner.started == []


def test_second_recovery_password_opens_too(images: Images, tmp_path: Path) -> None:
    name = "bitlk-aes-xts-128-two-recovery"
    disk, volume = images.disk(name)
    second = images.password(name, "RP2")
    with unlock(disk, volume, second, SystemRunner(), tmp_path) as plain, plain.open("rb") as stream:
        assert stream.read(11)[3:] == b"NTFS    "


def test_password_of_another_volume_is_wrong_and_starts_nothing(images: Images, tmp_path: Path) -> None:
    disk, volume = images.disk("bitlk-aes-xts-128")
    other = images.password("bitlk-aes-xts-256")
    runner = WatchingRunner()
    with pytest.raises(KeyWrongError), unlock(disk, volume, other, runner, tmp_path):
        pass
    assert runner.started == []


def test_without_a_clear_key_a_volume_stays_locked(images: Images, tmp_path: Path) -> None:
    disk, volume = images.disk("bitlk-aes-xts-128")
    with pytest.raises(KeyWrongError), unlock(disk, volume, None, SystemRunner(), tmp_path):
        pass


KINDS = ("aes-cbc-128", "aes-cbc-elephant-128", "aes-cbc-elephant-256", "aes-xts-128", "aes-xts-256")


@pytest.mark.parametrize("name", [f"bitlk-{kind}" for kind in KINDS])
def test_volume_key_is_the_one_cryptsetup_works_with(images: Images, name: str) -> None:
    """What we would hand to cryptsetup on a machine with device-mapper is what it finds by itself here."""
    disk, volume = images.disk(name)
    password = images.password(name)
    assert password is not None
    with disk.raw.open("rb") as stream:
        metadata = read_metadata(stream, 0, volume.length)
    keys = find_keys(metadata, password, None, RecordedRunner())
    command = ["cryptsetup", "bitlkDump", "--dump-volume-key", "--batch-mode", "--key-file=-", str(disk.raw)]
    dump = subprocess.run(command, input=password.reveal(), capture_output=True, check=True).stdout.decode()
    assert "".join(dump.split("MK dump:")[1].split()) == (_key_for_cryptsetup(keys, metadata).reveal().hex())


def test_partition_is_written_where_it_lies_and_flushed(images: Images, tmp_path: Path) -> None:
    name = "bitlk-aes-xts-128"
    source, volume = images.disk(name)
    offset = 1 << 20
    image = tmp_path / "disk.img"
    with image.open("wb") as stream:
        stream.truncate(offset + volume.length + (1 << 20))
    copy = ["dd", f"if={source.raw}", f"of={image}", "bs=1M", "seek=1", "conv=notrunc,sparse", "status=none"]
    subprocess.run(copy, check=True)
    flushed: list[int] = []
    inner = Volume(3, offset, volume.length, VolumeKind.BITLOCKER, VolumeState.LOCKED)
    disk = Disk(image, image, image.stat().st_size, 512, None, (inner,), _sync=lambda: flushed.append(1))
    work = tmp_path / "work"
    work.mkdir()
    before = image.read_bytes()
    place = 50 << 20
    with open_plain(disk, inner, images.password(name), SystemRunner(), work) as plain:
        with plain.path.open("r+b", buffering=0) as stream:
            stream.seek(place)
            stream.write(b"written through" * 100)
        plain.sync()
        assert flushed == [1]
    with (
        open_plain(disk, inner, images.password(name), SystemRunner(), work) as plain,
        plain.path.open("rb") as stream,
    ):
        stream.seek(place)
        assert stream.read(1500) == b"written through" * 100
    after = image.read_bytes()
    first = offset + place
    assert after[:first] == before[:first]
    assert after[first : first + 1536] != before[first : first + 1536]
    assert after[first + 1536 :] == before[first + 1536 :]


class FailingRunner(WatchingRunner):
    """A host without /dev/fuse: dislocker ends at once."""

    def start(self, argv: Sequence[str], **how: Any) -> Server:
        return super().start(["false"])


def test_a_program_that_does_not_open_it_is_no_puzzle(images: Images, tmp_path: Path) -> None:
    disk, volume = images.disk("bitlk-aes-xts-128-clearkey-only")
    with pytest.raises(FailedError) as caught, unlock(disk, volume, None, FailingRunner(), tmp_path):
        pass
    assert caught.value.reason == "program-failed"
    assert caught.value.message.startswith("dislocker does not open this BitLocker volume")
    assert caught.value.hint
