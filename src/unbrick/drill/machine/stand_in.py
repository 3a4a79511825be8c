"""A stand-in for Windows on a drill disk: it starts where Windows would, and says so on the serial port.

Debian's shim is signed by Microsoft, so it starts with Secure Boot on in the place of Windows' boot manager;
Debian's GRUB beside it prints the words of a menu. GRUB sets `lockdown` by itself when the firmware enforces
Secure Boot: the words are a proof. A legacy BIOS starts the boot code of the disk's first sector instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unbrick.processes.command import Runner

STARTED = "stand-in: Windows started"
SECURE = f"{STARTED}, Secure Boot on"
NOT_SECURE = f"{STARTED}, Secure Boot off"
BY_BIOS = f"{STARTED} by a legacy BIOS"

_TIMEOUT = 60.0
_MENU = f"""\
if [ "$lockdown" = y ]; then
    echo "{SECURE}"
else
    echo "{NOT_SECURE}"
fi
sleep 1
halt
"""
# Where each of Debian's signed GRUBs looks for its menu: the disk's, the CD's and the network's.
_MENUS = ("EFI/debian/grub.cfg", "boot/grub/grub.cfg", "grub/grub.cfg")
_LOADERS = (("EFI/Microsoft/Boot", "bootmgfw.efi"), ("EFI/Boot", "bootx64.efi"))
_BOOT_CODE_BYTES = 440
_LOADED_AT = 0x7C00


@dataclass(frozen=True)
class SignedLoader:
    """Debian's signed shim, and a signed GRUB of any kind."""

    shim: Path
    grub: Path


def install_stand_in(
    disk: Path, esp_offset: int, loader: SignedLoader, runner: Runner, workdir: Path
) -> None:
    """Put the stand-in on a raw disk, whose EFI system partition begins at `esp_offset` (bytes).

    `workdir` is for the files on their way. Raises CommandError where a file does not fit.
    """
    tree = workdir / "stand-in"
    contents = {name: _MENU.encode() for name in _MENUS}
    for folder, name in _LOADERS:
        contents[f"{folder}/{name}"] = loader.shim.read_bytes()
        contents[f"{folder}/grubx64.efi"] = loader.grub.read_bytes()
    for path, content in contents.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    tops = [str(path) for path in sorted(tree.iterdir())]
    argv = ["mcopy", "-s", "-o", "-Q", "-i", f"{disk}@@{esp_offset}", *tops, "::/"]
    runner.run(argv, timeout=_TIMEOUT)
    with disk.open("r+b") as stream:
        stream.write(boot_code(f"{BY_BIOS}\r\n"))


def boot_code(words: str) -> bytes:
    """Code for a disk's first sector that writes `words` to the first serial port and halts.

    16-bit x86 as a BIOS starts it, at 0:7C00 with interrupts on. UART 16550: data at 0x3F8, line status at
    0x3FD, whose bit 5 says that the next byte may be written.
    """
    text_at = _LOADED_AT + 29
    code = bytes(
        [
            *(0xFA, 0xFC, 0x31, 0xC0, 0x8E, 0xD8),  # cli; cld; xor ax, ax; mov ds, ax
            *(0xBE, text_at & 0xFF, text_at >> 8),  # mov si, text
            *(0xBA, 0xFD, 0x03),  # wait: mov dx, 0x3fd
            *(0xEC, 0xA8, 0x20, 0x74, 0xFB),  # in al, dx; test al, 0x20; jz back to in
            *(0xAC, 0x08, 0xC0, 0x74, 0x06),  # lodsb; or al, al; jz end
            *(0xBA, 0xF8, 0x03, 0xEE),  # mov dx, 0x3f8; out dx, al
            *(0xEB, 0xED),  # jmp wait
            0xF4,  # end: hlt
        ]
    )
    assert len(code) == text_at - _LOADED_AT
    assert len(code) + len(words) < _BOOT_CODE_BYTES
    return code + words.encode("ascii") + b"\0"
