"""The registry of a simulated Windows: SYSTEM, SOFTWARE, the small hives, and the boot store (BCD).

Names and types are those of real installations, odd ones too: Windows 11 calls itself "Windows 10" in
`ProductName`; a server of 2019 has a `ReleaseId` and no `DisplayVersion`. The BCD device element was compared
with a store that Windows made.
"""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from unbrick.drill.disk.partition import Partition
from unbrick.drill.disk.registry import RegistryTree, RegistryValue, binary, expandable, number, several, text

_AGENT = "\\??\\C:\\Windows\\system32\\drivers\\CrowdStrike\\csagent.sys"
_CRASH_DUMP_AUTOMATIC = 7
_BOOT_MANAGER = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}"
_BOOT_MANAGER_TYPE = 0x10100002
_WINDOWS_LOADER_TYPE = 0x10200003


@dataclass(frozen=True)
class WindowsVersion:
    """What SOFTWARE says of an edition. `display` is None on a server older than 2022."""

    product: str
    edition: str
    display: str | None
    release: str
    build: int
    revision: int

    @property
    def product_name(self) -> str:
        return self.product.replace("10", "11") if self.build >= 22000 else self.product


VERSIONS = (
    WindowsVersion("Windows 10 Pro", "Professional", "22H2", "2009", 19045, 4529),
    WindowsVersion("Windows 10 Enterprise", "Enterprise", "21H2", "2009", 19044, 4529),
    WindowsVersion("Windows 10 Pro", "Professional", "23H2", "2009", 22631, 3880),
    WindowsVersion("Windows Server 2019 Standard", "ServerStandard", None, "1809", 17763, 6054),
)


@dataclass(frozen=True)
class SimulatedWindows:
    """One installation; `services` are besides those that every Windows has."""

    computer: str
    version: WindowsVersion
    disk_guid: uuid.UUID
    partition: Partition
    services: tuple[str, ...] = ()


def _service(
    start: int, image: str, *, kind: int = 1, group: str | None = None, error: int = 1
) -> RegistryTree:
    values: dict[str, RegistryValue | RegistryTree] = {
        "ErrorControl": number(error),
        "ImagePath": expandable(image),
        "Start": number(start),
        "Type": number(kind),
    }
    if group:
        values["Group"] = text(group)
    return values


def _services(windows: SimulatedWindows) -> RegistryTree:
    drivers = "System32\\drivers"
    host = "%SystemRoot%\\system32\\svchost.exe -k"
    services = {
        "ACPI": _service(0, f"{drivers}\\ACPI.sys", group="Core", error=3),
        "BITS": _service(3, f"{host} netsvcs -p", kind=0x20),
        "CSAgent": _service(1, _AGENT, kind=2, group="FSFilter Activity Monitor"),
        "CSFalconService": _service(2, "%ProgramFiles%\\CrowdStrike\\CSFalconService.exe", kind=0x10),
        "disk": _service(0, f"{drivers}\\disk.sys", error=0),
        "Dnscache": _service(2, f"{host} NetworkService -p", kind=0x20),
        "EventLog": _service(2, f"{host} LocalServiceNetworkRestricted -p", kind=0x20),
        "fvevol": _service(0, f"{drivers}\\fvevol.sys", error=3),
        "Ntfs": _service(1, f"{drivers}\\ntfs.sys", kind=2, group="Boot File System"),
        "partmgr": _service(0, f"{drivers}\\partmgr.sys", group="Boot Bus Extender", error=3),
        "Spooler": _service(2, "%SystemRoot%\\System32\\spoolsv.exe", kind=0x110),
        "storahci": _service(0, f"{drivers}\\storahci.sys", group="SCSI Miniport"),
        "stornvme": _service(0, f"{drivers}\\stornvme.sys", group="SCSI Miniport"),
        "Tcpip": {
            **_service(0, f"{drivers}\\tcpip.sys", group="PNP_TDI", error=3),
            "Parameters": {"Hostname": text(windows.computer), "NV Hostname": text(windows.computer)},
        },
        "volmgr": _service(0, f"{drivers}\\volmgr.sys", group="System Bus Extender", error=3),
        "volsnap": _service(0, f"{drivers}\\volsnap.sys", error=3),
        "WinDefend": _service(2, "%ProgramFiles%\\Windows Defender\\MsMpEng.exe", kind=0x10),
    }
    known = {name.casefold() for name in services}
    for name in windows.services:
        if name.casefold() not in known:
            services[name] = _service(3, f"%ProgramFiles%\\{name}\\{name}.exe", kind=0x10)
    return dict(sorted(services.items(), key=lambda item: item[0].casefold()))


def _mounted_devices(windows: SimulatedWindows) -> RegistryTree:
    identity = b"DMIO:ID:" + windows.partition.guid.bytes_le
    volume = f"\\??\\Volume{{{str(windows.partition.guid).lower()}}}"
    return {"\\DosDevices\\C:": binary(identity), volume: binary(identity)}


def system_tree(windows: SimulatedWindows) -> RegistryTree:
    """The SYSTEM hive: one control set, the computer's name, its services and class filters."""
    name = {"(default)": text("mnmsrvc"), "ComputerName": text(windows.computer)}
    control: RegistryTree = {
        "Class": {
            "{4d36e967-e325-11ce-bfc1-08002be10318}": {
                "Class": text("DiskDrive"),
                "UpperFilters": several("partmgr"),
            },
            "{71a27cdd-812a-11d0-bec7-08002be2092f}": {
                "Class": text("Volume"),
                "LowerFilters": several("fvevol"),
                "UpperFilters": several("volsnap"),
            },
        },
        "ComputerName": {"ComputerName": name},
        "CrashControl": {
            "AutoReboot": number(1),
            "CrashDumpEnabled": number(_CRASH_DUMP_AUTOMATIC),
            "DumpFile": expandable("%SystemRoot%\\MEMORY.DMP"),
            "MinidumpDir": expandable("%SystemRoot%\\Minidump"),
        },
        "Session Manager": {
            "BootExecute": several("autocheck autochk *"),
            "Power": {"HiberbootEnabled": number(1)},
        },
        "TimeZoneInformation": {"TimeZoneKeyName": text("GMT Standard Time")},
    }
    return {
        "ControlSet001": {"Control": control, "Services": _services(windows)},
        "MountedDevices": _mounted_devices(windows),
        "Select": {
            "Current": number(1),
            "Default": number(1),
            "Failed": number(0),
            "LastKnownGood": number(1),
        },
        "Setup": {"OOBEInProgress": number(0), "SetupType": number(0), "SystemSetupInProgress": number(0)},
    }


def software_tree(windows: SimulatedWindows) -> RegistryTree:
    version = windows.version
    current: dict[str, RegistryValue | RegistryTree] = {
        "CurrentBuild": text(str(version.build)),
        "CurrentBuildNumber": text(str(version.build)),
        "CurrentMajorVersionNumber": number(10),
        "CurrentMinorVersionNumber": number(0),
        "CurrentVersion": text("6.3"),
        "EditionID": text(version.edition),
        "InstallationType": text("Server" if "Server" in version.product else "Client"),
        "ProductName": text(version.product),
        "RegisteredOwner": text("IT department"),
        "ReleaseId": text(version.release),
        "SystemRoot": text("C:\\Windows"),
        "UBR": number(version.revision),
    }
    if version.display:
        current["DisplayVersion"] = text(version.display)
    uninstall: RegistryTree = {
        "{D7F8E5A1-6C33-4C0B-9B0D-2F1A40B1C291}": {
            "DisplayName": text("CrowdStrike Windows Sensor"),
            "DisplayVersion": text("7.15.18513.0"),
        }
    }
    return {
        "Microsoft": {
            "Windows": {
                "CurrentVersion": {"ProgramFilesDir": text("C:\\Program Files"), "Uninstall": uninstall}
            },
            "Windows NT": {"CurrentVersion": current},
        }
    }


def small_trees(rng: random.Random) -> Mapping[str, RegistryTree]:
    """By file name, the hives that every Windows has and unbrick never reads."""
    return {
        "DEFAULT": {"Control Panel": {"International": {"Locale": text("00000809")}}},
        "SAM": {"SAM": {"Domains": {"Account": {"V": binary(rng.randbytes(64))}}}},
        "SECURITY": {"Policy": {"PolAcDmS": {"Data": binary(rng.randbytes(24))}}},
    }


def _device(disk: uuid.UUID, partition: uuid.UUID) -> bytes:
    """A BCD device element that names a GPT partition."""
    kind_partition, length, table_gpt = 6, 0x48, 0
    return (
        bytes(16)
        + struct.pack("<IIII", kind_partition, 0, length, 0)
        + partition.bytes_le
        + struct.pack("<II", 0, table_gpt)
        + disk.bytes_le
        + bytes(16)
    )


def boot_store_tree(
    disk: uuid.UUID, esp: Partition, installations: tuple[tuple[str, uuid.UUID, Partition], ...]
) -> RegistryTree:
    """The BCD: the boot manager and one loader for each (title, object id, Windows partition)."""
    braced = [f"{{{str(identity).lower()}}}" for _, identity, _ in installations]
    objects: dict[str, RegistryValue | RegistryTree] = {
        _BOOT_MANAGER: {
            "Description": {"Type": number(_BOOT_MANAGER_TYPE)},
            "Elements": {
                "11000001": {"Element": binary(_device(disk, esp.guid))},
                "12000002": {"Element": text("\\EFI\\Microsoft\\Boot\\bootmgfw.efi")},
                "12000004": {"Element": text("Windows Boot Manager")},
                "23000003": {"Element": text(braced[0])},
                "24000001": {"Element": several(*braced)},
            },
        }
    }
    for (title, _, partition), name in zip(installations, braced, strict=True):
        objects[name] = {
            "Description": {"Type": number(_WINDOWS_LOADER_TYPE)},
            "Elements": {
                "11000001": {"Element": binary(_device(disk, partition.guid))},
                "12000002": {"Element": text("\\Windows\\system32\\winload.efi")},
                "12000004": {"Element": text(title)},
                "21000001": {"Element": binary(_device(disk, partition.guid))},
                "22000002": {"Element": text("\\Windows")},
            },
        }
    return {
        "Description": {"KeyName": text("BCD00000000"), "System": number(1), "TreatAsSystem": number(1)},
        "Objects": objects,
    }
