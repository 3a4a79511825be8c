"""A small image of the medium's shape, made by xorriso: ISO 9660, GPT, an EFI system partition, boot code."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

MIB = 1024 * 1024


def make_image(path: Path, *, seed: int = 1, size: int = 5 * MIB, signature: str = "") -> Path:
    """Write an image whose contents depend on `seed` only; `size` is that of its largest file, in bytes.

    `signature` is that of the site's key over the list of the image's files, as text.
    """
    dice = random.Random(seed)
    tree = path.with_name(path.name + ".tree")
    for name, content in {
        "boot/initrd.img": dice.randbytes(size),
        "boot/vmlinuz": dice.randbytes(50_000),
        "boot/grub/grub.cfg": b"linux $folder/vmlinuz quiet console=tty0\ninitrd $folder/initrd.img\n",
        "manifest.sig": signature.encode().ljust(4096, b"\n"),
        "netboot/shimx64.efi": b"MZ" + dice.randbytes(20_000),
        "netboot/pxelinux.0": dice.randbytes(4_000),
        "netboot/ldlinux.c32": dice.randbytes(10_000),
        "netboot/grubnetx64.efi": b"MZ" + dice.randbytes(30_000),
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    esp = path.with_name(path.name + ".esp")
    with esp.open("wb") as stream:
        stream.truncate(2 * MIB)
    _run("mkfs.fat", "-F", "12", "-i", "12345678", "--invariant", esp)
    boot_code = path.with_name(path.name + ".boot")
    boot_code.write_bytes(dice.randbytes(432))
    append = ["-append_partition", "2", "0xef", str(esp), "-appended_part_as_gpt"]
    el_torito = ["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
    hybrid = ["-G", str(boot_code), "-partition_offset", "16", *append, *el_torito]
    _run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "UNBRICK", "-J", "-R", *hybrid, tree)
    return path


def _run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
