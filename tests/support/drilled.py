"""Drill disks for tests: each kind is made once for a whole run of pytest, and every test gets its own copy.

Also the judge: what truly lies on a disk now, read through dislocker and ntfs-3g as anybody could.
"""

from __future__ import annotations

import csv
import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.truth_file import MachineTruth, differences, read_truth_file

from unbrick.disks.bitlocker.master_key import check_password, open_clear_key
from unbrick.disks.bitlocker.metadata import read_metadata
from unbrick.drill.disk import ntfs
from unbrick.drill.disk.truth import FileTruth, VolumeTruth, read_truth, sha256_of
from unbrick.drill.fleet import make_fleet
from unbrick.drill.options import MIB, Encryption, FleetOptions, ImageFormat, MachineOptions
from unbrick.processes.command import SystemRunner, wait_until
from unbrick.secret import Secret

_RUNNER = SystemRunner()
_SMALL: dict[str, Any] = {"size": 160 * MIB, "files": 30}

KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "healthy": {"spared": True},
    "two-windows": {"two_windows": True},
    "dirty": {"dirty": True},
    "crashed": {"crashed": True, "variant": 3},
    "hibernated": {"hibernated": True},
    "xts-128": {"encryption": Encryption.XTS_128},
    "xts-256": {"encryption": Encryption.XTS_256, "variant": 1},
    "clear-key": {"encryption": Encryption.XTS_128, "clear_key": True, "key_in_escrow": False},
    "two-locked": {"encryption": Encryption.XTS_128, "two_windows": True},
    "locked-crashed": {"encryption": Encryption.XTS_256, "crashed": True},
    "qcow2": {"image_format": ImageFormat.QCOW2},
    "vhdx": {"image_format": ImageFormat.VHDX},
    "vmdk": {"image_format": ImageFormat.VMDK},
    "sectors-4096": {"sector_size": 4096, "size": 384 * MIB},
    "locked-qcow2": {"encryption": Encryption.XTS_128, "image_format": ImageFormat.QCOW2},
}
"""What each kind of disk is besides small and faulty."""


@dataclass(frozen=True)
class Drilled:
    """One drill disk in a folder of its own: `image`, its escrow `keys`, and the truth about it."""

    image: Path
    keys: Path
    truth: MachineTruth

    @property
    def volume(self) -> VolumeTruth:
        """The first Windows volume."""
        return self.truth.volumes[0]

    def digest(self) -> str:
        """The SHA-256 of the whole image file."""
        return sha256_of(self.image)

    def passwords(self) -> dict[str, str]:
        """The escrowed recovery passwords by protector id."""
        rows = csv.DictReader(self.keys.read_text().splitlines())
        return {row["KeyID"]: row["RecoveryKey"] for row in rows}

    def complaints(self, *, repaired: bool) -> tuple[str, ...]:
        """What on any Windows volume, or on a partition nobody may touch, is not as the truth has it."""
        raw = self._raw()
        said: list[str] = []
        for volume in self.truth.volumes:
            said += differences(volume, self._read(raw, volume), repaired=repaired)
        for part in self.truth.untouched:
            if sha256_of(raw, part["offset"], part["length"]) != part["sha256"]:
                said.append(f"partition {part['partition']} ({part['role']}) was written")
        return tuple(said)

    def _raw(self) -> Path:
        """The disk as raw bytes; other formats are converted beside the image's folder."""
        if self.image.suffix == ".img":
            return self.image
        raw = self.image.parent.parent / f"{self.image.name}.raw"
        subprocess.run(["qemu-img", "convert", "-O", "raw", self.image, raw], check=True)
        return raw

    def _read(self, raw: Path, volume: VolumeTruth) -> tuple[FileTruth, ...]:
        with open_volume(raw, volume, self.passwords()) as root:
            return read_truth(root)


def drilled_in(folder: Path) -> list[Drilled]:
    """Every machine of a drill that was made in a folder."""
    truths = read_truth_file(folder / "truth.json")
    return [Drilled(folder / truth.disk, folder / "keys.csv", truth) for truth in truths]


def cut_out(raw: Path, volume: VolumeTruth, target: Path) -> None:
    """Write a volume of a raw disk to a file of its own: a disk without a table."""
    with raw.open("rb") as disk, target.open("wb") as alone:
        disk.seek(volume.offset)
        for at in range(0, volume.length, MIB):
            block = disk.read(min(MIB, volume.length - at))
            if any(block):
                alone.seek(at)
                alone.write(block)
        alone.truncate(volume.length)


@contextmanager
def open_volume(raw: Path, volume: VolumeTruth, passwords: dict[str, str]) -> Iterator[Path]:
    """A Windows volume of a raw disk, mounted read-only by programs started here."""
    folder = raw.parent.parent / f"look-{raw.stem}-{volume.partition}"
    folder.mkdir()
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        if volume.protector is None:
            source = folder / "volume"
            cut_out(raw, volume, source)
        else:
            key = folder / "key"
            key.write_bytes(_master_key(raw, volume, passwords).reveal())
            source = stack.enter_context(_decrypted(raw, volume, key, folder / "decrypted"))
        yield stack.enter_context(ntfs.mounted(source, folder / "mount", _RUNNER, read_only=True))


_MASTER_KEYS: dict[tuple[str, str], Secret] = {}


def _master_key(raw: Path, volume: VolumeTruth, passwords: dict[str, str]) -> Secret:
    """Stretching a password takes the better part of a second, so each is stretched once."""
    assert volume.protector is not None
    place = (volume.protector, passwords.get(volume.protector, ""))
    if place not in _MASTER_KEYS:
        with raw.open("rb") as stream:
            metadata = read_metadata(stream, volume.offset, volume.length)
        if place[1]:
            _MASTER_KEYS[place] = check_password(metadata, Secret(place[1]))
        else:
            _MASTER_KEYS[place] = open_clear_key(metadata)
    return _MASTER_KEYS[place]


@contextmanager
def _decrypted(raw: Path, volume: VolumeTruth, key: Path, at: Path) -> Iterator[Path]:
    at.mkdir()
    options = ["-r", "-q", "-V", str(raw), "-O", str(volume.offset), "-K", str(key)]
    server = _RUNNER.start(["dislocker", *options, "--", "-f", str(at)])
    try:
        wait_until(server, (at / "dislocker-file").exists, timeout=60, what="dislocker")
        yield at / "dislocker-file"
    finally:
        subprocess.run(["umount", str(at)], check=False, capture_output=True)
        server.stop(30)


class Drills:
    """Every kind of drill disk, made when it is first asked for, in a folder that all workers share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder.mkdir(exist_ok=True)

    def copy(self, kind: str, to: Path, name: str | None = None) -> Drilled:
        """A disk of a kind, copied with its keys into the new folder `to`."""
        made = self._made(kind)
        to.mkdir(parents=True, exist_ok=True)
        image = to / (name or made.image.name)
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", made.image, image], check=True)
        keys = shutil.copy(made.keys, to.parent / f"{image.stem}-keys.csv")
        return Drilled(image, Path(keys), made.truth)

    def digest(self, kind: str) -> str:
        """The SHA-256 of a disk as it was made."""
        return self._made(kind).digest()

    def _made(self, kind: str) -> Drilled:
        directory = self._folder / kind
        with (self._folder / f"{kind}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not directory.exists():
                self._make(kind, directory)
        (truth,) = read_truth_file(directory / "truth.json")
        return Drilled(directory / truth.disk, directory / "keys.csv", truth)

    def _make(self, kind: str, directory: Path) -> None:
        """Under another name first: a half-made one must not be taken for a made one."""
        number = list(KINDS).index(kind)
        seed = int(hashlib.sha256(kind.encode()).hexdigest()[:6], 16)
        machine = MachineOptions(f"WARD-{number:03}", seed, kind, **{**_SMALL, **KINDS[kind]})
        unfinished = directory.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        make_fleet(unfinished, FleetOptions((machine,), seed), _RUNNER, lambda _: None)
        unfinished.rename(directory)
