"""The boot medium of the tests: built once for a run of pytest, by the real command; sticks made of it."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from support.boot_machine import RUNNER
from support.program import start_program

from unbrick.drill.machine.boot import loader_of_medium
from unbrick.drill.machine.stand_in import SignedLoader
from unbrick.drill.options import MIB

_BUILD_SECONDS = 1500.0
_STICK_BYTES = 320 * MIB
_KERNEL_FILES = ("vmlinuz", "initrd.img")


@dataclass(frozen=True)
class Medium:
    """`image` has no settings of its own; `site_key` is the private key whose public half it carries."""

    folder: Path

    @property
    def image(self) -> Path:
        """The hybrid ISO image."""
        return self.folder / "unbrick.iso"

    @property
    def site_key(self) -> Path:
        """The site's private key; it has no passphrase."""
        return self.folder / "site-key"

    @property
    def loader(self) -> SignedLoader:
        """Debian's signed shim and GRUB, as they are on it."""
        return SignedLoader(self.folder / "loader" / "shimx64.efi", self.folder / "loader" / "grubx64.efi")

    @property
    def kernel(self) -> Path:
        """Its kernel."""
        return self.folder / "boot" / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """The whole system, as an initramfs."""
        return self.folder / "boot" / "initrd.img"

    def with_settings(self, station: Path, image: Path) -> Path:
        """Another image, with those settings built in."""
        build(image, self.site_key, "--station", station)
        return image

    def stick(self, image: Path, *options: str | Path, of: Path | None = None) -> Path:
        """A stick written by `unbrick media write` with these options; a file stands for the device.

        It is of this medium's image, or of another one, as `with_settings` makes it.
        """
        with image.open("xb") as stream:
            stream.truncate(_STICK_BYTES)
        _unbrick("media", "write", image, "--image", of or self.image, "--yes", *options)
        return image


def build_medium(folder: Path) -> Medium:
    """The medium in `folder`, which several workers share: the first builds, the others wait."""
    medium = Medium(folder)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            _build_all(folder)
    return medium


def _build_all(folder: Path) -> None:
    """Under another name first: a half-made one must not be taken for a made one."""
    unfinished = Medium(folder.with_suffix(".unfinished"))
    shutil.rmtree(unfinished.folder, ignore_errors=True)
    unfinished.folder.mkdir()
    keygen = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "site", "-f", str(unfinished.site_key)]
    subprocess.run(keygen, check=True, timeout=60)
    build(unfinished.image, unfinished.site_key)
    loader_of_medium(unfinished.image, unfinished.folder / "loader", RUNNER)
    (unfinished.folder / "boot").mkdir()
    extract = ["xorriso", "-osirrox", "on", "-indev", str(unfinished.image)]
    for name in _KERNEL_FILES:
        extract += ["-extract", f"/boot/{name}", str(unfinished.folder / "boot" / name)]
    subprocess.run(extract, check=True, timeout=120, capture_output=True)
    unfinished.folder.rename(folder)


def build(image: Path, site_key: Path, *options: str | Path) -> None:
    """`unbrick media build`."""
    _unbrick("media", "build", "--out", image, "--site-key", site_key, *options)


def sign(folder: Path, site_key: Path) -> None:
    """`unbrick media sign`."""
    _unbrick("media", "sign", folder, "--site-key", site_key)


def files_on(stick: Path) -> dict[str, bytes]:
    """What is on a stick's partition UNBRICK below its outbox and log, by path; read by mtools."""
    table = subprocess.run(["sfdisk", "--json", stick], check=True, capture_output=True, timeout=60)
    partitions = json.loads(table.stdout)["partitiontable"]["partitions"]
    start = max(one["start"] for one in partitions) * 512
    folder = stick.with_suffix(".files")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    where = f"{stick}@@{start}"
    subprocess.run(["mcopy", "-s", "-n", "-i", where, "::/", str(folder)], check=True, timeout=120)
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _unbrick(*arguments: str | Path) -> None:
    process = start_program(*arguments)
    try:
        out, err = process.communicate(timeout=_BUILD_SECONDS)
    finally:
        process.kill()
    assert process.returncode == 0, out + err
