"""Boot entries as a firmware keeps them: from which device and file a machine starts.

Layout: UEFI specification, 3.1.3 (load options) and 10.3 (device paths). Only made here; how a station finds
the entry of Windows is its own business.
"""

from __future__ import annotations

import struct

from unbrick.drill.disk.partition import Layout, Partition
from unbrick.drill.machine.firmware_variables import FirmwareVariables

WINDOWS_LOADER = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
_ACTIVE = 1
_END = b"\x7f\xff\x04\x00"


def _node(kind: int, subtype: int, data: bytes) -> bytes:
    return struct.pack("<BBH", kind, subtype, len(data) + 4) + data


def _file(path: str) -> bytes:
    return _node(4, 4, path.encode("utf-16-le") + b"\0\0")


def _pci(slot: int, function: int = 0) -> bytes:
    """A device of the first PCI root (ACPI PNP0A03)."""
    return _node(2, 1, struct.pack("<II", 0x0A0341D0, 0)) + _node(1, 1, bytes([function, slot]))


def partition_path(layout: Layout, partition: Partition, file: str) -> bytes:
    """A file on a GPT partition, by the partition's GUID: the form that Windows Setup writes."""
    sectors = (partition.offset // layout.sector_size, partition.length // layout.sector_size)
    place = struct.pack("<IQQ16sBB", partition.number, *sectors, partition.guid.bytes_le, 2, 2)
    return _node(4, 1, place) + _file(file) + _END


def usb_path(slot: int, port: int) -> bytes:
    """Whatever boots on a USB stick; `port` counts from 0 at the controller in that PCI slot."""
    return _pci(slot) + _node(3, 5, bytes([port, 0])) + _END


def sata_path(port: int) -> bytes:
    """Whatever boots on a drive at a port of the q35 board's AHCI controller, an optical one too."""
    return _pci(0x1F, 2) + _node(3, 18, struct.pack("<HHH", port, 0xFFFF, 0)) + _END


def network_path(slot: int, address: bytes, *, http: bool) -> bytes:
    """PXE, or HTTP boot, over IPv4 with the network card of that MAC address."""
    mac = _node(3, 11, address.ljust(32, b"\0") + b"\x01")
    by_dhcp = _node(3, 12, bytes(23))
    return _pci(slot) + mac + by_dhcp + (_node(3, 24, b"") if http else b"") + _END


def load_option(description: str, path: bytes, optional: bytes = b"") -> bytes:
    """The value of a `Boot####` variable."""
    text = description.encode("utf-16-le") + b"\0\0"
    return struct.pack("<IH", _ACTIVE, len(path)) + text + path + optional


def windows_entry(layout: Layout, esp: Partition) -> bytes:
    """The entry that Windows Setup makes, with the words it leaves for its loader."""
    words = b"WINDOWS\0" + struct.pack("<III", 1, 0x88, 0x78)
    return load_option("Windows Boot Manager", partition_path(layout, esp, WINDOWS_LOADER), words)


def set_boot_order(variables: FirmwareVariables, entries: dict[int, bytes], order: tuple[int, ...]) -> None:
    """Keep these entries (by their numbers) and the order in which the firmware tries them."""
    for number, entry in entries.items():
        variables.set(f"Boot{number:04X}", entry)
    variables.set("BootOrder", struct.pack(f"<{len(order)}H", *order))
