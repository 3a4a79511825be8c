"""What is inside a boot medium, read without the builder's code: xorriso, zstd and cpio unpack it."""

from __future__ import annotations

import lzma
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 300


@dataclass(frozen=True)
class Contents:
    """`files` are those of the image, `system` is the tree that the kernel unpacks."""

    files: Path
    system: Path

    @property
    def modules(self) -> Path:
        """The folder of the kernel's modules."""
        (folder,) = (self.system / "usr/lib/modules").iterdir()
        return folder


def unpack(image: Path, folder: Path) -> Contents:
    """Unpack an image into a new folder."""
    files, system = folder / "files", folder / "system"
    system.mkdir(parents=True)
    extract = ["xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(files)]
    subprocess.run(extract, check=True, capture_output=True, timeout=_SECONDS)
    subprocess.run(["chmod", "-R", "u+w", str(files)], check=True)
    first, rest = _split((files / "boot/initrd.img").read_bytes(), folder)
    for archive in (first, rest):
        command = ["cpio", "-idmu", "--quiet", "--no-absolute-filenames"]
        subprocess.run(command, input=archive, cwd=system, check=True, timeout=_SECONDS)
    return Contents(files, system)


def _split(initrd: bytes, folder: Path) -> tuple[bytes, bytes]:
    """The packed archive, unpacked, and the plain one behind it, which begins with the folder `etc`."""
    starts = range(0, len(initrd), 512)
    (plain,) = (
        at for at in starts if initrd[at : at + 6] == b"070701" and initrd[at + 110 : at + 114] == b"etc\0"
    )
    packed = folder / "system.zst"
    packed.write_bytes(initrd[:plain])
    # Zeros stand between two archives; zstd complains of them, and has unpacked all.
    done = subprocess.run(["zstd", "-dcq", str(packed)], check=False, capture_output=True, timeout=_SECONDS)
    assert done.stdout.rstrip(b"\0").endswith(b"TRAILER!!!"), done.stderr
    return done.stdout, initrd[plain:]


def aliases(modules: Path) -> set[tuple[str, str]]:
    """Pairs of device id and module, as depmod has written them."""
    lines = (modules / "modules.alias").read_text(encoding="utf-8").splitlines()
    return {(words[1], words[2]) for words in map(str.split, lines) if words[0] == "alias"}


def wanted_symbols(module: Path) -> set[str]:
    """What a module wants of the kernel: the undefined symbols of its ELF file."""
    data = lzma.decompress(module.read_bytes())
    start, count = struct.unpack_from("<Q", data, 40)[0], struct.unpack_from("<H", data, 60)[0]
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, start + 64 * index) for index in range(count)]
    return {name for section in sections if section[1] == 2 for name in _undefined(data, sections, section)}


def _undefined(data: bytes, sections: list[tuple[int, ...]], section: tuple[int, ...]) -> Iterator[str]:
    names = sections[section[6]]
    for at in range(section[4], section[4] + section[5], 24):
        name, _, _, defined_in = struct.unpack_from("<IBBH", data, at)
        if defined_in == 0 and name:
            begin = names[4] + name
            yield data[begin : data.index(b"\0", begin)].decode()
