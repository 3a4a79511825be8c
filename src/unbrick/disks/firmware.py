"""The firmware identifiers of this machine, where a disk is built into it.

An image, a loop or network device, a mapping and a disk in a dock say nothing about this machine: they would
make every machine that passes a technician's bench one and the same.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from unbrick.events.identity import valid_serial, valid_smbios_uuid
from unbrick.model import Machine

_DMI = Path("/sys/class/dmi/id")
_BLOCK = Path("/sys/dev/block")
_SERIALS = ("product_serial", "chassis_serial", "board_serial")
_MOST_BYTES = 512
# What in a device's path in sysfs shows that it is not built in: attached from outside, or over a network.
_OUTSIDE = ("usb", "fw", "session", "rport-", "thunderbolt")


def read_firmware(disk: Path, *, dmi: Path = _DMI, block: Path = _BLOCK) -> Machine:
    """The valid SMBIOS UUID and serial number of this machine, if `disk` is built into it; raises nothing.

    `dmi` is the kernel's folder of SMBIOS strings, `block` its folder of block devices by number.
    """
    try:
        status = disk.stat()
        if not stat.S_ISBLK(status.st_mode):
            return Machine()
        number = f"{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    except (OSError, ValueError):
        return Machine()
    return read_own_firmware(dmi=dmi) if is_built_in(number, block=block) else Machine()


def read_own_firmware(*, dmi: Path = _DMI) -> Machine:
    """The valid SMBIOS UUID and serial number of the machine that runs this; raises nothing."""
    serials = (valid_serial(_read(dmi / name)) for name in _SERIALS)
    return Machine(
        smbios_uuid=valid_smbios_uuid(_read(dmi / "product_uuid")),
        serial=next((serial for serial in serials if serial), None),
    )


def is_built_in(number: str, *, block: Path = _BLOCK) -> bool:
    """Whether the block device with this `major:minor` is a disk (or its partition) inside this machine."""
    try:
        place = (block / number).resolve(strict=True)
    except (OSError, RuntimeError):
        return False
    if any(part.startswith(_OUTSIDE) for part in place.parts):
        return False
    # A device at an external port (Thunderbolt, ExpressCard) looks like an ordinary PCI device otherwise:
    # Documentation/ABI/testing/sysfs-devices-removable.
    if any(_read(parent / "removable") == "removable" for parent in place.parents):
        return False
    if "virtual" not in place.parts:
        return True
    # The kernel shows an NVMe disk that could have several paths as virtual; the controllers tell how.
    subsystem = next((one for one in place.parents if one.name.startswith("nvme-subsys")), None)
    if subsystem is None or subsystem.parent.name != "nvme-subsystem":
        return False
    transports = [_read(path) for path in subsystem.glob("nvme*/transport")]
    return bool(transports) and all(transport == "pcie" for transport in transports)


def _read(path: Path) -> str | None:
    try:
        with path.open("rb") as stream:
            return stream.read(_MOST_BYTES).decode(errors="replace").strip()
    except OSError:
        return None
