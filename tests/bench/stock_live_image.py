"""Builds what one would take without unbrick's medium: a stock Debian live image with the same packages.

squashfs, live-boot, systemd, a login prompt on the console; Debian's signed shim, GRUB and kernel, so that it
boots with Secure Boot on too. Nothing is tuned, for or against it. Needs root, mmdebstrap, squashfs-tools,
xorriso, mtools, dosfstools.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import yaml

_DEFINITION = Path(__file__).resolve().parents[2] / "recovery_media" / "system.yaml"
# Only for building our own medium; and what Debian has in the place of our locked Python packages.
_NOT_NEEDED = ("grub-", "shim-", "busybox")
_INSTEAD = ("python3-click", "python3-cryptography", "python3-paramiko", "python3-rich", "python3-yaml")
_SYSTEM = ("live-boot", "systemd-sysv", "initramfs-tools", "zstd", "kmod", "login")
_BOOT = ("shim-signed", "grub-efi-amd64-signed")
# Debian's GRUB for discs looks for this file, and then for its menu beside it.
_MARK = Path(".disk", "info")
_MENU = """\
linux /live/vmlinuz boot=live quiet console=tty0 console=ttyS0,115200
initrd /live/initrd.img
boot
"""
_ESP_BYTES = 16 * 1024 * 1024


def stock_packages() -> list[str]:
    """The same tools, from the same list, and what makes a live system of them."""
    definition = yaml.safe_load(_DEFINITION.read_text())
    same = [name for name in definition["packages"] if not name.startswith(_NOT_NEEDED)]
    return [*same, *_INSTEAD, *_SYSTEM]


def build_stock_image(image: Path, work: Path) -> None:
    """Write the hybrid ISO `image`; `work` is a new folder for everything on the way."""
    work.mkdir(parents=True)
    root, tree = work / "root", work / "tree"
    _debootstrap(root, stock_packages())
    _debootstrap(work / "boot", list(_BOOT), variant="extract")
    for folder in ("live", "boot/grub", _MARK.parent):
        (tree / folder).mkdir(parents=True)
    (tree / _MARK).write_text("stock\n")
    (tree / "boot" / "grub" / "grub.cfg").write_text(_MENU)
    _run("mksquashfs", root, tree / "live" / "filesystem.squashfs", "-comp", "xz", "-noappend", "-quiet")
    for name in ("vmlinuz", "initrd.img"):
        shutil.copy(next((root / "boot").glob(f"{name}-*")), tree / "live" / name)
    _make_esp(work / "esp.img", work / "boot" / "usr" / "lib")
    _run(
        *("xorriso", "-as", "mkisofs", "-quiet", "-V", "STOCK", "-r", "-o", image),
        *("-append_partition", "2", "0xef", work / "esp.img"),
        *("-e", "--interval:appended_partition_2:all::", "-no-emul-boot", tree),
    )


def _debootstrap(root: Path, packages: list[str], variant: str = "minbase") -> None:
    """`extract` only unpacks."""
    hooks = ["--customize-hook=chroot $1 passwd -d root"] if variant != "extract" else []
    _run(
        *("mmdebstrap", f"--variant={variant}", "--components=main,non-free-firmware", "--quiet"),
        *('--aptopt=APT::Install-Recommends "false"', f"--include={','.join(packages)}"),
        *hooks,
        *("trixie", root),
    )


def _make_esp(esp: Path, programs: Path) -> None:
    with esp.open("wb") as stream:
        stream.truncate(_ESP_BYTES)
    _run("mkfs.vfat", "-n", "STOCK", esp)
    _run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    grub = programs / "grub" / "x86_64-efi-signed" / "gcdx64.efi.signed"
    for source, target in (
        (programs / "shim" / "shimx64.efi.signed", "EFI/BOOT/BOOTX64.EFI"),
        (grub, "EFI/BOOT/grubx64.efi"),
    ):
        _run("mcopy", "-i", esp, source, f"::/{target}")


def _run(*argv: str | Path) -> None:
    subprocess.run([str(word) for word in argv], check=True, timeout=1800)
