"""Makes boot entries as a firmware keeps them: from which device and file a machine starts.

Layout: UEFI specification, 3.1.3 (load options) and 10.3 (device paths).
"""

from __future__ import annotations

import struct

from unbrick.drill.disk.partition import Layout, Partition
from unbrick.drill.machine.firmware_variables import FirmwareVariables

WINDOWS_LOADER = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
_ACTIVE = 1
END = b"\x7f\xff\x04\x00"


def node(kind: int, subtype: int, data: bytes) -> bytes:
    return struct.pack("<BBH", kind, subtype, len(data) + 4) + data


def _file(path: str) -> bytes:
    return node(4, 4, path.encode("utf-16-le") + b"\0\0")


def pci_path(slot: int, function: int = 0) -> bytes:
    """A device of the first PCI root (ACPI PNP0A03)."""
    return node(2, 1, struct.pack("<II", 0x0A0341D0, 0)) + node(1, 1, bytes([function, slot]))


def partition_path(layout: Layout, partition: Partition, file: str) -> bytes:
    """A file on a GPT partition, by the partition's GUID: the form that Windows Setup writes."""
    sectors = (partition.offset // layout.sector_size, partition.length // layout.sector_size)
    place = struct.pack("<IQQ16sBB", partition.number, *sectors, partition.guid.bytes_le, 2, 2)
    return node(4, 1, place) + _file(file) + END


def usb_path(slot: int, port: int) -> bytes:
    """A USB stick; `port` counts from 0 at the controller in that PCI slot."""
    return pci_path(slot) + node(3, 5, bytes([port, 0])) + END


def network_path(slot: int, address: bytes, *, http: bool) -> bytes:
    """PXE, or HTTP boot, over IPv4 with the network card of that MAC address."""
    mac = node(3, 11, address.ljust(32, b"\0") + b"\x01")
    by_dhcp = node(3, 12, bytes(23))
    return pci_path(slot) + mac + by_dhcp + (node(3, 24, b"") if http else b"") + END


def load_option(description: str, path: bytes, optional: bytes = b"") -> bytes:
    """The value of a `Boot####` variable."""
    text = description.encode("utf-16-le") + b"\0\0"
    return struct.pack("<IH", _ACTIVE, len(path)) + text + path + optional


def windows_entry(layout: Layout, esp: Partition) -> bytes:
    """The entry that Windows Setup makes, with the words it leaves for its loader."""
    words = b"WINDOWS\0" + struct.pack("<III", 1, 0x88, 0x78)
    return load_option("Windows Boot Manager", partition_path(layout, esp, WINDOWS_LOADER), words)


def set_boot_order(variables: FirmwareVariables, entries: dict[int, bytes], order: tuple[int, ...]) -> None:
    """Set these entries (by number) and the order in which the firmware tries them."""
    for number, entry in entries.items():
        variables.set(f"Boot{number:04X}", entry)
    variables.set("BootOrder", struct.pack(f"<{len(order)}H", *order))
