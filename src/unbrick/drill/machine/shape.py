"""A virtual machine's firmware, drives and network; and the QEMU command line for it.

Emulated throughout (TCG): hardware acceleration is not available on every computer.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from unbrick.drill.machine.boot_entries import network_path, usb_path

_FIRMWARE = Path("/usr/share/OVMF")
_CODE = {"secure-boot": "OVMF_CODE_4M.secboot.fd", "uefi": "OVMF_CODE_4M.fd"}
_VARIABLES = {"secure-boot": "OVMF_VARS_4M.ms.fd", "uefi": "OVMF_VARS_4M.fd"}
_USB_SLOT, _NETWORK_SLOT = 5, 6
_STICK_PORT = 1
_MAC = bytes.fromhex("525400554e42")


class Firmware(StrEnum):
    """UEFI that enforces Microsoft's keys, UEFI that does not, or a legacy BIOS."""

    SECURE_BOOT = "secure-boot"
    UEFI = "uefi"
    BIOS = "bios"

    @property
    def variables(self) -> Path | None:
        """The firmware's variables as it leaves the factory; None for a legacy BIOS."""
        name = _VARIABLES.get(self.value)
        return _FIRMWARE / name if name else None


class Bus(StrEnum):
    """How a drive is attached."""

    AHCI = "ahci"
    NVME = "nvme"
    VIRTIO = "virtio"
    STICK = "stick"
    CD = "cd"


@dataclass(frozen=True)
class Drive:
    """A raw image and the bus it is on; `write_log` gets every write, in the format of dm-log-writes."""

    image: Path
    bus: Bus
    name: str
    read_only: bool = False
    write_log: Path | None = None


@dataclass(frozen=True)
class Network:
    """The network card: QEMU's words for its connection (`user`, `tap,ifname=…`), and its model.

    `http`: a machine that starts from the network does so by HTTP boot, not by PXE.
    """

    connected: str = "user"
    model: str = "virtio-net-pci"
    http: bool = False


@dataclass(frozen=True)
class DirectStart:
    """A kernel that QEMU starts without a boot loader."""

    kernel: Path
    initrd: Path
    command_line: str


@dataclass(frozen=True)
class MachineShape:
    """One machine. `clock` is its hardware clock at the start, UTC, as `2009-01-01T00:00:00`; None: now.

    `first` is the name of the drive that a legacy BIOS starts from; None: the network, if any, then the
    drives. A UEFI firmware has its boot entries. Without a `usb_keyboard` there is a PS/2 one, which Linux
    knows from its first second on.
    """

    firmware: Firmware
    drives: tuple[Drive, ...]
    network: Network | None = None
    memory_mib: int = 1024
    processors: int = 1
    clock: str | None = None
    uuid: uuid.UUID | None = None
    serial_number: str = "UNBRICK-1"
    first: str | None = None
    direct: DirectStart | None = None
    usb_keyboard: bool = True

    def stick_path(self) -> bytes:
        return usb_path(_USB_SLOT, _STICK_PORT - 1)

    def network_path(self, *, http: bool = False) -> bytes:
        """The device path of PXE or HTTP boot."""
        return network_path(_NETWORK_SLOT, _MAC, http=http)

    def sata_port(self, name: str) -> int:
        return [drive.name for drive in self.drives if drive.bus in (Bus.AHCI, Bus.CD)].index(name)

    def command_line(self, *, variables: Path | None, serial: Path, monitor: int) -> list[str]:
        """QEMU's arguments: `variables` is the machine's own flash file, `monitor` an inherited socket."""
        argv = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"]
        argv += ["-machine", f"q35,smm={'on' if self.firmware is Firmware.SECURE_BOOT else 'off'}"]
        argv += ["-accel", "tcg,thread=multi", "-cpu", "max"]
        argv += ["-smp", str(self.processors), "-m", str(self.memory_mib)]
        argv += ["-rtc", f"base={self.clock or 'utc'}"]
        argv += ["-smbios", self._smbios()]
        argv += ["-chardev", f"socket,id=monitor,fd={monitor}", "-mon", "chardev=monitor,mode=control"]
        argv += ["-chardev", f"file,id=serial,path={_escaped(serial)}", "-serial", "chardev:serial"]
        argv += ["-device", f"qemu-xhci,id=usb,addr={_USB_SLOT}"]
        argv += ["-device", "usb-kbd,bus=usb.0,port=4"] if self.usb_keyboard else []
        argv += self._flash(variables) + self._network()
        for drive in self.drives:
            argv += self._drive(drive)
        if self.direct is not None:
            argv += ["-kernel", str(self.direct.kernel), "-initrd", str(self.direct.initrd)]
            argv += ["-append", self.direct.command_line]
        return argv

    def _smbios(self) -> str:
        fields = ["type=1", "manufacturer=QEMU", "product=Drill", f"serial={self.serial_number}"]
        return ",".join(fields + ([f"uuid={self.uuid}"] if self.uuid else []))

    def _flash(self, variables: Path | None) -> list[str]:
        if self.firmware is Firmware.BIOS:
            return []
        code = _FIRMWARE / _CODE[self.firmware.value]
        secure = ["-global", "driver=cfi.pflash01,property=secure,value=on"]
        return [
            *(secure if self.firmware is Firmware.SECURE_BOOT else []),
            *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={code}"),
            *("-drive", f"if=pflash,unit=1,format=raw,file={_escaped(variables)}"),
        ]

    def _network(self) -> list[str]:
        if self.network is None:
            return ["-nic", "none"]
        mac = ":".join(f"{byte:02x}" for byte in _MAC)
        device = f"{self.network.model},netdev=net,mac={mac},addr={_NETWORK_SLOT}"
        # UEFI has a driver of its own, a BIOS needs the card's boot ROM; looking for IPv6 costs a minute.
        by_rom = self.firmware is Firmware.BIOS and self.first is None
        return [
            *("-netdev", f"{self.network.connected},id=net"),
            *("-device", f"{device},bootindex=0" if by_rom else f"{device},romfile="),
            *("-fw_cfg", f"name=opt/org.tianocore/IPv4PXESupport,string={'n' if self.network.http else 'y'}"),
            *("-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n"),
        ]

    def _drive(self, drive: Drive) -> list[str]:
        name, image = drive.name, str(drive.image)
        nodes: list[dict[str, object]] = [
            {"driver": "file", "node-name": f"{name}-file", "filename": image, "read-only": drive.read_only},
        ]
        below = {"driver": "raw", "node-name": name, "file": f"{name}-file", "read-only": drive.read_only}
        if drive.write_log is not None:
            nodes.append(
                {"driver": "file", "node-name": f"{name}-log-file", "filename": str(drive.write_log)}
            )
            below = {"driver": "blklogwrites", "node-name": name, "file": f"{name}-file"}
            below |= {"log": f"{name}-log-file", "log-sector-size": 512}
        nodes.append(below)
        argv = [word for node in nodes for word in ("-blockdev", json.dumps(node))]
        order = ""
        if self.firmware is Firmware.BIOS and self.direct is None:
            order = f",bootindex={0 if name == self.first else self.drives.index(drive) + 1}"
        return [*argv, "-device", self._device(drive) + order]

    def _device(self, drive: Drive) -> str:
        common = f"id={drive.name},drive={drive.name}"
        if drive.bus is Bus.STICK:
            return f"usb-storage,bus=usb.0,port={_STICK_PORT},{common},removable=on"
        if drive.bus is Bus.CD:
            return f"ide-cd,bus=ide.{self.sata_port(drive.name)},{common}"
        kind = {
            Bus.AHCI: f"ide-hd,bus=ide.{self.sata_port(drive.name) if drive.bus is Bus.AHCI else 0}",
            Bus.NVME: "nvme",
            Bus.VIRTIO: "virtio-blk-pci",
        }[drive.bus]
        return f"{kind},{common},serial={drive.name}"


def _escaped(path: object) -> str:
    """A path within QEMU's comma-separated options."""
    return str(path).replace(",", ",,")
