"""Makes a machine's disk: partitions, boot files, Windows, recovery, encryption, image format."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from unbrick.drill.bitlocker.encrypt import encrypt_volume
from unbrick.drill.contents.planned import moment
from unbrick.drill.contents.programs import stand_in_program
from unbrick.drill.disk import hives, ntfs
from unbrick.drill.disk.partition import Layout, Partition, Role, plan_layout, seeded_guid, write_table
from unbrick.drill.disk.registry import make_hive
from unbrick.drill.disk.truth import VolumeTruth, sha256_of
from unbrick.drill.disk.windows_volume import bitlocker_settings, make_windows_volume, simulated_windows
from unbrick.drill.options import ImageFormat, MachineOptions, dice
from unbrick.processes.command import Runner

_TIMEOUT = 60.0
_CONVERT_TIMEOUT = 3600.0
_EFI_APPLICATION = 10


@dataclass(frozen=True)
class UntouchedTruth:
    """A partition on which nothing may ever change; `offset` and `length` are bytes of the disk."""

    partition: int
    role: str
    offset: int
    length: int
    sha256: str


@dataclass(frozen=True)
class MadeMachine:
    """A machine as it was made. `disk` is its image; `disk_guid` in upper case."""

    options: MachineOptions
    disk: Path
    disk_guid: str
    volumes: tuple[VolumeTruth, ...]
    untouched: tuple[UntouchedTruth, ...]


def _boot_store(machine: MachineOptions, layout: Layout, workdir: Path) -> bytes:
    windows = [simulated_windows(machine, layout, order) for order in range(len(layout.of(Role.WINDOWS)))]
    loaders = tuple(
        (
            f"Windows {'11' if one.version.build >= 22000 else '10'}",
            seeded_guid(machine.seed, machine.name, "loader", one.partition.number),
            one.partition,
        )
        for one in windows
    )
    tree = hives.boot_store_tree(layout.guid, layout.of(Role.ESP)[0], loaders)
    name = f"\\Device\\HarddiskVolume{layout.of(Role.ESP)[0].number}\\EFI\\Microsoft\\Boot\\BCD"
    return make_hive(tree, file_name=name, written=moment("2024-06-12 07:40:00"), workdir=workdir)


def _make_esp(
    image: Path,
    layout: Layout,
    esp: Partition,
    boot_store: bytes,
    rng: random.Random,
    runner: Runner,
    workdir: Path,
) -> None:
    """FAT32 with Microsoft's boot files and the boot store."""
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


def _make_recovery(
    image: Path, machine: MachineOptions, layout: Layout, partition: Partition, runner: Runner, workdir: Path
) -> None:
    rng = dice(machine.seed, machine.name, "recovery")
    ntfs.make_volume(
        image,
        length=partition.length,
        sector_size=layout.sector_size,
        first_sector=partition.offset // layout.sector_size,
        label="Recovery",
        serial=rng.getrandbits(64),
        runner=runner,
    )
    with ntfs.mounted(image, workdir / "recovery", runner) as root:
        folder = root / "Recovery" / "WindowsRE"
        folder.mkdir(parents=True)
        (folder / "Winre.wim").write_bytes(b"MSWIM\0\0\0" + rng.randbytes(500_000))
        (folder / "boot.sdi").write_bytes(b"$SDI0001" + rng.randbytes(50_000))


def _make_parts(
    scratch: Path, disk: Path, machine: MachineOptions, layout: Layout, runner: Runner, workdir: Path
) -> tuple[VolumeTruth, ...]:
    """Make each partition's content in the file `scratch` and copy it to its place on the raw disk."""
    truths = []
    with disk.open("r+b") as stream:
        write_table(stream, layout)
        for partition in layout.partitions:
            if partition.role is Role.RESERVED:
                continue
            if partition.role is Role.ESP:
                rng = dice(machine.seed, machine.name, "esp")
                store = _boot_store(machine, layout, workdir)
                _make_esp(scratch, layout, partition, store, rng, runner, workdir)
            elif partition.role is Role.RECOVERY:
                _make_recovery(scratch, machine, layout, partition, runner, workdir)
            else:
                order = layout.of(Role.WINDOWS).index(partition)
                truths.append(make_windows_volume(scratch, machine, layout, order, runner, workdir))
            ntfs.copy_sparse(scratch, stream, partition.offset)
            scratch.unlink()
    return tuple(truths)


def make_machine(machine: MachineOptions, directory: Path, runner: Runner, workdir: Path) -> MadeMachine:
    """Make a machine's disk in `directory`; mounts are made below `workdir` and gone at the end.

    Leaves nothing half made in `directory` when it raises (UsageError, FailedError, OSError).
    """
    layout = plan_layout(machine)
    image = directory / f"{machine.name}{machine.image_format.extension}"
    raw = directory / f".{machine.name}.disk"
    scratch = directory / f".{machine.name}.volume"
    try:
        with raw.open("xb") as stream:
            stream.truncate(layout.size)
        volumes = _make_parts(scratch, raw, machine, layout, runner, workdir)
        for order, partition in enumerate(layout.of(Role.WINDOWS)):
            if settings := bitlocker_settings(machine, layout, order):
                place = (partition.offset, partition.length)
                encrypt_volume(raw, *place, settings, used_space_only=machine.used_space_only)
        untouched = tuple(
            UntouchedTruth(
                partition.number,
                partition.role.value,
                partition.offset,
                partition.length,
                sha256_of(raw, partition.offset, partition.length),
            )
            for partition in layout.partitions
            if partition.role is not Role.WINDOWS
        )
        if machine.image_format is ImageFormat.RAW:
            raw.rename(image)
        else:
            argv = [
                "qemu-img",
                "convert",
                "-f",
                "raw",
                "-O",
                machine.image_format.value,
                str(raw),
                str(image),
            ]
            runner.run(argv, timeout=_CONVERT_TIMEOUT)
    except BaseException:
        image.unlink(missing_ok=True)
        raise
    finally:
        scratch.unlink(missing_ok=True)
        raw.unlink(missing_ok=True)
    return MadeMachine(machine, image, str(layout.guid).upper(), volumes, untouched)
