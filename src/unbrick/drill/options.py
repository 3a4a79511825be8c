"""What a simulated machine and a fleet are to be, and what unbrick is expected to report of each."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

from unbrick.errors import UsageError
from unbrick.incidents.library import Collection, find_playbook, load_library, read_playbook_file
from unbrick.incidents.playbook import Playbook
from unbrick.model import Status

MIB = 1024 * 1024
DEFAULT_INCIDENT = "crowdstrike-cf291"
DEFAULT_SIZE = 256 * MIB
DEFAULT_FILES = 200
SMALLEST_SIZE = {512: 160 * MIB, 4096: 384 * MIB}  # by sector size
_LARGEST_SIZE = 1024 * 1024 * MIB
_MOST_FILES = 1_000_000
_MOST_MACHINES = 10_000

_PLACES = ("RECEPTION", "WARD", "PHARMACY", "OFFICE", "LAB", "XRAY", "TRIAGE", "RECORDS")
_UNITS = {"": 1, "K": 1024, "M": MIB, "G": 1024 * MIB, "T": 1024 * 1024 * MIB}


class ImageFormat(StrEnum):
    """The formats of a machine's disk image; the value is also qemu-img's word."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VHDX = "vhdx"
    VMDK = "vmdk"

    @property
    def extension(self) -> str:
        return ".img" if self is ImageFormat.RAW else f".{self.value}"


class Encryption(StrEnum):
    """How the Windows volumes of a machine are encrypted."""

    NONE = "none"
    XTS_128 = "xts-128"
    XTS_256 = "xts-256"


@cache
def default_incident() -> Playbook:
    return find_playbook(load_library(), DEFAULT_INCIDENT)


@dataclass(frozen=True)
class MachineOptions:
    """One machine. `size` is the disk's, in bytes; `files` the ordinary files on each Windows volume.

    `incident` is what went wrong, `variant` picks one of its shapes; a machine that is `spared` has no fault.
    `clear_key` is BitLocker's suspended state: the volume opens without a password. `used_space_only` leaves
    the free clusters alone, as Windows does on a new machine; otherwise every sector is encrypted.
    """

    name: str
    seed: int
    scenario: str = "plain"
    size: int = DEFAULT_SIZE
    files: int = DEFAULT_FILES
    incident: Playbook = field(default_factory=default_incident)
    spared: bool = False
    variant: int = 0
    encryption: Encryption = Encryption.NONE
    key_in_escrow: bool = True
    clear_key: bool = False
    used_space_only: bool = True
    dirty: bool = False
    crashed: bool = False
    hibernated: bool = False
    two_windows: bool = False
    image_format: ImageFormat = ImageFormat.RAW
    sector_size: int = 512

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z0-9][A-Z0-9-]{0,14}", self.name):
            raise UsageError(f"not a computer name: {self.name!r}", hint="at most 15 of A-Z, 0-9 and -")
        if self.sector_size not in SMALLEST_SIZE:
            raise UsageError(f"sectors of {self.sector_size} bytes: only 512 and 4096 exist")
        smallest = SMALLEST_SIZE[self.sector_size]
        if not smallest <= self.size <= _LARGEST_SIZE:
            raise UsageError(
                f"a disk of {self.size} bytes is not possible",
                hint=f"give a size from {smallest // MIB}M up to 1T",
            )
        if not 0 <= self.files <= _MOST_FILES:
            raise UsageError(f"{self.files} files: give a number from 0 to {_MOST_FILES}")
        if self.clear_key and self.encryption is Encryption.NONE:
            raise UsageError("a clear key needs an encrypted volume")
        if self.encryption is not Encryption.NONE and self.sector_size != 512:
            raise UsageError("a drill encrypts disks with 512-byte sectors only")

    @property
    def expected(self) -> Status:
        """The status the contract gives this machine after `repair` with the fleet's own keys file."""
        if self.encryption is not Encryption.NONE and not self.key_in_escrow and not self.clear_key:
            return Status.NEEDS_KEY
        if self.spared:
            return Status.HEALTHY
        return Status.NEEDS_HANDS if self.hibernated else Status.REPAIRED


@dataclass(frozen=True)
class FleetOptions:
    """The machines to make. `seed` also decides the inventory: sites, owners, serial numbers."""

    machines: tuple[MachineOptions, ...]
    seed: int

    def __post_init__(self) -> None:
        names = {machine.name for machine in self.machines}
        if len(names) != len(self.machines):
            raise UsageError("two machines of a fleet have the same name")


def dice(*parts: object) -> random.Random:
    """A generator that depends on these parts only: the same seed makes the same fleet everywhere."""
    return random.Random("/".join(str(part) for part in parts))  # noqa: S311 - simulated data, no key of worth


def parse_size(text: str) -> int:
    """Bytes from `256M`, `2G`, `512MiB` or a plain number; raises UsageError."""
    match = re.fullmatch(r"(\d{1,15})\s*([KMGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if match is None:
        raise UsageError(f"not a size: {text!r}", hint="write it like 256M or 2G")
    return int(match.group(1)) * _UNITS[match.group(2).upper()]


def machine_name(seed: int, index: int) -> str:
    """A plausible computer name, unique within a fleet by its number."""
    place = dice(seed, "place", index).choice(_PLACES)
    return f"{place[:9]}-{index + 1:03d}"


def fleet_of(machines: int, like: MachineOptions) -> FleetOptions:
    """`machines` machines like one, each with a name and a variant of its own; raises UsageError."""
    if not 1 <= machines <= _MOST_MACHINES:
        raise UsageError(f"{machines} machines: give a number from 1 to {_MOST_MACHINES}")
    words = {
        like.encryption.value: like.encryption is not Encryption.NONE,
        "dirty": like.dirty,
        "crashed": like.crashed,
        "hibernated": like.hibernated,
        "two Windows": like.two_windows,
        "healthy": like.spared,
    }
    scenario = ", ".join(word for word, applies in words.items() if applies) or "plain"
    made = (
        replace(like, name=machine_name(like.seed, index), scenario=scenario, variant=index)
        for index in range(machines)
    )
    return FleetOptions(tuple(made), like.seed)


def standard_fleet(
    seed: int = 1,
    size: int = DEFAULT_SIZE,
    files: int = DEFAULT_FILES,
    incident: Playbook | None = None,
) -> tuple[MachineOptions, ...]:
    """The drill's eight machines: five to be repaired, one without a key, one for hands, one healthy."""
    like = MachineOptions("PC-1", seed, size=size, files=files, incident=incident or default_incident())

    def machine(index: int, scenario: str, **properties: Any) -> MachineOptions:
        properties = {"variant": index, **properties}
        return replace(like, name=machine_name(seed, index), scenario=scenario, **properties)

    return (
        machine(0, "plain"),
        machine(1, "BitLocker XTS-128", encryption=Encryption.XTS_128),
        machine(2, "BitLocker XTS-256", encryption=Encryption.XTS_256, used_space_only=False),
        machine(3, "BitLocker, password missing", encryption=Encryption.XTS_128, key_in_escrow=False),
        machine(4, "healthy", spared=True),
        machine(5, "two Windows", two_windows=True),
        machine(6, "crashed", crashed=True, variant=3),
        machine(7, "hibernated", hibernated=True),
    )


def chosen_incident(fault: str | None, file: Path | None) -> Playbook | None:
    """The playbook that is to be played; None: the drill's own choice."""
    named = fault if fault != "none" else None
    if file is not None and named is not None:
        raise UsageError("--fault and --playbook both name an incident", hint="give one of them")
    if file is not None:
        return Collection().add(read_playbook_file(file), str(file))
    return find_playbook(load_library(), named) if named else None
