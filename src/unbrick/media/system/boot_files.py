"""What starts the kernel: Debian's signed shim and GRUB, GRUB and PXELINUX for BIOS, the EFI partition."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

from unbrick.media.system.debian_root import DebianRoot
from unbrick.processes.command import Runner

_SECONDS = 120.0
_SIGNED_GRUB = "usr/lib/grub/x86_64-efi-signed"
_BIOS_GRUB = "usr/lib/grub/i386-pc"
_BIOS_MODULES = (
    *("biosdisk", "iso9660", "part_gpt", "part_msdos", "fat", "search", "search_fs_file", "configfile"),
    *("normal", "probe", "regexp", "smbios", "gettext", "linux", "echo", "test", "reboot", "halt", "vbe"),
    *("vga", "video", "all_video", "ls", "minicmd", "sleep"),
)
LANGUAGE = "unbrick"
_CATALOGUE = struct.Struct("<7I")
_CATALOGUE_MAGIC = 0x950412DE
_PAIR = struct.Struct("<2I")
_SECTOR = 512
_SLACK = 192 * 1024


def copy_boot_files(root: DebianRoot, folder: Path, runner: Runner) -> None:
    folder.mkdir(parents=True)
    for name, path in (
        ("shimx64.efi", "usr/lib/shim/shimx64.efi.signed"),
        ("grubx64.efi", f"{_SIGNED_GRUB}/gcdx64.efi.signed"),
        ("grubnetx64.efi", f"{_SIGNED_GRUB}/grubnetx64.efi.signed"),
        ("pxelinux.0", "usr/lib/PXELINUX/pxelinux.0"),
        ("ldlinux.c32", "usr/lib/syslinux/modules/bios/ldlinux.c32"),
        ("boot_hybrid.img", f"{_BIOS_GRUB}/boot_hybrid.img"),
        ("vmlinuz", f"boot/vmlinuz-{root.kernel}"),
    ):
        (folder / name).write_bytes((root.folder / path).read_bytes())
    arguments = ("-d", str(root.folder / _BIOS_GRUB), "-O", "i386-pc-eltorito", "-p", "/boot/grub")
    output = ("-o", str(folder / "eltorito.img"))
    root.run(runner, "usr/bin/grub-mkimage", *arguments, *output, *_BIOS_MODULES, timeout=_SECONDS)


def make_efi_partition(
    root: DebianRoot, boot: Path, find_config: bytes, image: Path, seconds: int, runner: Runner
) -> None:
    """Make the FAT image that firmware starts from; `seconds` since 1970 is the time of all its files."""
    config = image.with_suffix(".cfg")
    config.write_bytes(find_config)
    files = {
        "::/EFI/BOOT/BOOTX64.EFI": boot / "shimx64.efi",
        "::/EFI/BOOT/grubx64.efi": boot / "grubx64.efi",
        "::/boot/grub/grub.cfg": config,
    }
    length = sum(path.stat().st_size for path in files.values()) + _SLACK
    length += -length % (32 * _SECTOR)
    image.write_bytes(bytes(length))

    def mtools(name: str, *arguments: str) -> None:
        environment = {"SOURCE_DATE_EPOCH": str(seconds), "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"}
        root.run(runner, "usr/bin/mtools", *arguments, called=name, timeout=_SECONDS, environment=environment)

    serial = f"{seconds & 0xFFFFFFFF:08x}"
    geometry = ("-h", "1", "-s", "32", "-t", str(length // (32 * _SECTOR)))
    mtools("mformat", "-i", str(image), "-N", serial, "-v", "UNBRICK_EFI", *geometry, "::")
    mtools("mmd", "-i", str(image), "::/EFI", "::/EFI/BOOT", "::/boot", "::/boot/grub")
    for place, path in files.items():
        mtools("mcopy", "-i", str(image), str(path), place)


def make_catalogue(words: Mapping[str, str]) -> bytes:
    """A gettext catalogue (its manual, 10.3) of words in place of GRUB's own; sorted, as GRUB searches it."""
    pairs = sorted((word.encode(), instead.encode()) for word, instead in words.items())
    second_at = _CATALOGUE.size + len(pairs) * _PAIR.size
    texts = bytearray()
    tables = []
    for text in (*(word for word, _ in pairs), *(instead for _, instead in pairs)):
        tables.append(_PAIR.pack(len(text), second_at + len(pairs) * _PAIR.size + len(texts)))
        texts += text + b"\0"
    header = _CATALOGUE.pack(_CATALOGUE_MAGIC, 0, len(pairs), _CATALOGUE.size, second_at, 0, 0)
    return header + b"".join(tables) + bytes(texts)
