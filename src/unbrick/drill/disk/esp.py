"""The EFI system partition: FAT32 with Microsoft's boot files and the boot store."""

from __future__ import annotations

import random
from pathlib import Path

from unbrick.drill.contents.programs import stand_in_program
from unbrick.drill.disk.partition import Layout, Partition
from unbrick.processes.command import Runner

_EFI_APPLICATION = 10
_TIMEOUT = 60.0


def make_esp(
    image: Path,
    layout: Layout,
    esp: Partition,
    boot_store: bytes,
    rng: random.Random,
    runner: Runner,
    workdir: Path,
) -> None:
    """Write a FAT32 volume of `esp`'s length to the file `image`; `workdir` is for the files on their way."""
    with image.open("wb") as stream:
        stream.truncate(esp.length)
    sectors_before = esp.offset // layout.sector_size
    serial = f"{rng.getrandbits(32):08x}"
    shape = ["-F", "32", "-S", str(layout.sector_size), "-s", "1", "-h", str(sectors_before)]
    argv = ["mkfs.vfat", *shape, "-n", "SYSTEM", "-i", serial, str(image)]
    runner.run(argv, timeout=_TIMEOUT)
    manager = stand_in_program(rng, 120_000, subsystem=_EFI_APPLICATION)
    files = {
        "EFI/Boot/bootx64.efi": manager,
        "EFI/Microsoft/Boot/BCD": boot_store,
        "EFI/Microsoft/Boot/BCD.LOG": b"",
        "EFI/Microsoft/Boot/bootmgfw.efi": manager,
        "EFI/Microsoft/Boot/memtest.efi": stand_in_program(rng, 40_000, subsystem=_EFI_APPLICATION),
        "EFI/Microsoft/Boot/en-US/bootmgfw.efi.mui": rng.randbytes(2_000),
        "EFI/Microsoft/Boot/Fonts/segmono_boot.ttf": rng.randbytes(8_000),
    }
    for name, content in files.items():
        path = workdir / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    runner.run(["mcopy", "-s", "-Q", "-i", str(image), str(workdir / "EFI"), "::/"], timeout=_TIMEOUT)
