"""A small image of the medium's shape, made by xorriso: ISO 9660, GPT, an EFI system partition, boot code.

It carries the list of its files, signed, as a built one does.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support.stations import private_text

from unbrick.media.build import RESERVED, complete_image
from unbrick.media.image.manifest import reserved
from unbrick.processes.command import SystemRunner

MIB = 1024 * 1024
_FACTS = {
    "id": "0123456789abcdef",
    "version": "0.1.0",
    "built": "2026-01-01T00:00:00Z",
    "expires": "2027-02-01T00:00:00Z",
}


def make_image(
    path: Path,
    *,
    seed: int = 1,
    size: int = 5 * MIB,
    key: Path | None = None,
    change: Callable[[Path], None] | None = None,
) -> Path:
    """Write an image whose contents depend on `seed` only; `size` is that of its largest file, in bytes.

    `key` is the site's private key, one of the seed's own unless it is named; `change` does something to the
    folder of the files before they are packed.
    """
    dice = random.Random(seed)
    tree = path.with_name(path.name + ".tree")
    for name, content in {
        "boot/initrd.img": dice.randbytes(size),
        "boot/vmlinuz": dice.randbytes(50_000),
        "boot/grub/grub.cfg": b"linux $folder/vmlinuz quiet console=tty0 $stick\ninitrd $folder/initrd.img\n",
        "netboot/shimx64.efi": b"MZ" + dice.randbytes(20_000),
        "netboot/pxelinux.0": dice.randbytes(4_000),
        "netboot/ldlinux.c32": dice.randbytes(10_000),
        "netboot/grubnetx64.efi": b"MZ" + dice.randbytes(30_000),
        **{name: reserved(_FACTS["id"], length, name) for name, length in RESERVED.items()},
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_bytes(content)
    if change is not None:
        change(tree)
    esp = path.with_name(path.name + ".esp")
    with esp.open("wb") as stream:
        stream.truncate(2 * MIB)
    _run("mkfs.fat", "-F", "12", "-i", "12345678", "--invariant", esp)
    boot_code = path.with_name(path.name + ".boot")
    boot_code.write_bytes(dice.randbytes(432))
    append = ["-append_partition", "2", "0xef", str(esp), "-appended_part_as_gpt"]
    el_torito = ["-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"]
    hybrid = ["-G", str(boot_code), "-partition_offset", "16", *append, *el_torito]
    names = ["-iso-level", "3", "-J", "-R"]
    _run("xorriso", "-as", "mkisofs", "-quiet", "-o", path, "-V", "UNBRICK_ISO", *names, *hybrid, tree)
    if key is None:
        key = path.with_name(path.name + ".key")
        key.write_bytes(private_text(Ed25519PrivateKey.from_private_bytes(dice.randbytes(32))))
        key.chmod(0o600)
    complete_image(path, tree, _FACTS, key, SystemRunner())
    return path


def _run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, capture_output=True)
