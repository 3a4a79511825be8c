"""The block devices of this machine, as the kernel lists them in /sys: what each is and who holds it.

Only looks. Where a disk sits decides what it is: inside the machine, plugged in from outside, made of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.firmware import is_built_in
from unbrick.station.machine.small_files import names_in, text_of

SYSFS = Path("/sys")
_DEV = Path("/dev")
_SECTOR = 512  # /sys counts in these, whatever the disk's own sector is
_NEVER = ("loop", "ram", "zram", "fd", "dm-", "nbd", "mtdblock", "drbd", "rbd")
_OPTICAL = ("sr", "scd")


@dataclass(frozen=True)
class BlockDevice:
    """A whole disk, an array or an optical drive, with its partitions; sizes in bytes.

    `outside` is true of what is removable or plugged in from outside; `held_by` names the arrays and mappings
    that the disk or one of its partitions is part of. `array` is the md state (`clean`, `active`, …) where it
    is an array, `container` true where it only holds arrays. `model` is what its maker calls it.
    """

    name: str
    path: Path
    size: int
    optical: bool = False
    outside: bool = False
    held_by: tuple[str, ...] = ()
    partitions: tuple[str, ...] = ()
    array: str | None = None
    container: bool = False
    degraded: bool = False
    syncing: bool = False
    model: str = ""


def list_block_devices(sysfs: Path = SYSFS) -> tuple[BlockDevice, ...]:
    """Every device that could be a disk or a stick, by name; raises nothing."""
    names = [name for name in names_in(sysfs / "block") if not name.startswith(_NEVER)]
    return tuple(_device(sysfs, name) for name in names if not _is_part_of_flash(name))


def count_hidden_disks(sysfs: Path = SYSFS) -> int:
    """How many NVMe disks the firmware hides behind a SATA controller (Intel RST before VMD).

    The kernel's driver counts them (`ahci_remap_check` in drivers/ata/ahci.c) and cannot reach them.
    """
    return sum(_number(path) for path in sysfs.glob("bus/pci/drivers/ahci/*/remapped_nvme"))


def _is_part_of_flash(name: str) -> bool:
    # The small extra areas of an eMMC: boot code and keys, never a Windows.
    return name.startswith("mmcblk") and ("boot" in name or "rpmb" in name)


def _device(sysfs: Path, name: str) -> BlockDevice:
    folder = sysfs / "block" / name
    partitions = sorted(entry.parent.name for entry in folder.glob(f"{name}*/partition"))
    places = (folder, *(folder / part for part in partitions))
    holders = {one for place in places for one in names_in(place / "holders")}
    state = text_of(folder / "md" / "array_state") or None
    removable = text_of(folder / "removable") == "1" or text_of(folder / "device" / "type") == "SD"
    built_in = is_built_in(text_of(folder / "dev"), block=sysfs / "dev" / "block")
    return BlockDevice(
        name=name,
        path=_DEV / name.replace("!", "/"),
        size=_number(folder / "size") * _SECTOR,
        optical=name.startswith(_OPTICAL),
        outside=state is None and (removable or not built_in),
        held_by=tuple(sorted(holders)),
        partitions=tuple(partitions),
        array=state,
        container=state is not None and _is_container(folder / "md"),
        degraded=_number(folder / "md" / "degraded") > 0,
        model=text_of(folder / "device" / "model") or text_of(folder / "device" / "name"),
        syncing=(text_of(folder / "md" / "sync_action") or "idle") not in {"idle", "frozen"},
    )


def _is_container(md: Path) -> bool:
    # Its metadata is the firmware's own (`external:imsm`), no part of another array's (`external:/md127/0`).
    version = text_of(md / "metadata_version")
    return version.startswith("external:") and not version.startswith(("external:/", "external:-"))


def _number(path: Path) -> int:
    try:
        return int(text_of(path) or "0")
    except ValueError:
        return 0
