"""Puts the staged files into a hybrid image: CD and USB stick, UEFI and legacy BIOS."""

from __future__ import annotations

from pathlib import Path

from unbrick.media.system.debian_root import DebianRoot
from unbrick.processes.command import Runner

_SECONDS = 300.0
VOLUME_LABEL = "UNBRICK_ISO"


def write_image(
    root: DebianRoot, staged: Path, boot: Path, efi_partition: Path, out: Path, seconds: int, runner: Runner
) -> None:
    """Write `out` from the folder `staged`; every date in it is `seconds` since 1970."""
    arguments = [
        *("-as", "mkisofs", "-quiet", "-iso-level", "3", "-r", "-V", VOLUME_LABEL),
        *("-b", "boot/grub/eltorito.img", "-no-emul-boot", "-boot-load-size", "4", "-boot-info-table"),
        *("--grub2-boot-info", "--grub2-mbr", str(boot / "boot_hybrid.img")),
        *("-append_partition", "2", "0xef", str(efi_partition), "-appended_part_as_gpt"),
        *("-eltorito-alt-boot", "-e", "--interval:appended_partition_2:all::", "-no-emul-boot"),
        *("--set_all_file_dates", f"={seconds}", "-o", str(out), str(staged)),
    ]
    settings = {"SOURCE_DATE_EPOCH": str(seconds)}
    root.run(runner, "usr/bin/xorriso", *arguments, timeout=_SECONDS, environment=settings)
