"""What a simulated machine and a simulated fleet shall be, and what unbrick is expected to say of each.

Only says; makes nothing. The eight machines of `standard_fleet` are the drill's own fleet.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field, fields
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
    """The disk image formats a machine can be written as; the value is also qemu-img's word."""

    RAW = "raw"
    QCOW2 = "qcow2"
    VHDX = "vhdx"
    VMDK = "vmdk"

    @property
    def extension(self) -> str:
        """The file name extension, with its dot."""
        return ".img" if self is ImageFormat.RAW else f".{self.value}"


class Encryption(StrEnum):
    """How the Windows volumes of a machine are encrypted."""

    NONE = "none"
    XTS_128 = "xts-128"
    XTS_256 = "xts-256"


@cache
def default_incident() -> Playbook:
    """The incident that a drill plays where none was asked for."""
    return find_playbook(load_library(), DEFAULT_INCIDENT)


@dataclass(frozen=True)
class MachineOptions:
    """One machine. `size` is the disk's, in bytes; `files` the ordinary files on each Windows volume.

    `incident` is what went wrong, `spared` says that it passed this machine by, `variant` picks one of the
    shapes that it comes in. `clear_key` is BitLocker's suspended state: the volume opens without a password.
    `used_space_only` leaves the free clusters alone, as Windows does on a new machine; otherwise every
    sector is encrypted.
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

    def to_document(self) -> dict[str, Any]:
        """As it stands in `truth.json`: the incident by its id."""
        document = {one.name: getattr(self, one.name) for one in fields(self)}
        return {**document, "incident": self.incident.id}


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


def fleet_options(
    machines: int,
    *,
    seed: int = 1,
    size: int = DEFAULT_SIZE,
    files: int = DEFAULT_FILES,
    incident: Playbook | None = None,
    spared: bool = False,
    encryption: Encryption = Encryption.NONE,
    dirty: bool = False,
    crashed: bool = False,
    hibernated: bool = False,
    two_windows: bool = False,
    image_format: ImageFormat = ImageFormat.RAW,
) -> FleetOptions:
    """`machines` machines with the same properties, as `unbrick drill new` asks for; raises UsageError."""
    if not 1 <= machines <= _MOST_MACHINES:
        raise UsageError(f"{machines} machines: give a number from 1 to {_MOST_MACHINES}")
    words = [encryption.value] if encryption is not Encryption.NONE else []
    words += [
        word
        for word, wanted in (
            ("dirty", dirty),
            ("crashed", crashed),
            ("hibernated", hibernated),
            ("two Windows", two_windows),
            ("healthy", spared),
        )
        if wanted
    ]
    return FleetOptions(
        tuple(
            MachineOptions(
                machine_name(seed, index),
                seed,
                ", ".join(words) or "plain",
                size=size,
                files=files,
                incident=incident or default_incident(),
                spared=spared,
                variant=index,
                encryption=encryption,
                dirty=dirty,
                crashed=crashed,
                hibernated=hibernated,
                two_windows=two_windows,
                image_format=image_format,
            )
            for index in range(machines)
        ),
        seed,
    )


def standard_fleet(
    seed: int = 1,
    size: int = DEFAULT_SIZE,
    files: int = DEFAULT_FILES,
    incident: Playbook | None = None,
) -> tuple[MachineOptions, ...]:
    """The drill's eight machines: five to be repaired, one without a key, one for hands, one healthy."""

    def machine(index: int, scenario: str, **properties: object) -> MachineOptions:
        played = incident or default_incident()
        settings = {"size": size, "files": files, "variant": index, "incident": played, **properties}
        return MachineOptions(machine_name(seed, index), seed, scenario, **settings)  # type: ignore[arg-type]

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
    """The playbook that is to be played; None is the drill's own choice."""
    named = fault if fault != "none" else None
    if file is not None and named is not None:
        raise UsageError("--fault and --playbook both name an incident", hint="give one of them")
    if file is not None:
        return Collection().add(read_playbook_file(file), str(file))
    return find_playbook(load_library(), named) if named else None
