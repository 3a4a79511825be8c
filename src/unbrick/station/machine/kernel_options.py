"""What the kernel's command line may say: only what makes the station more careful.

    unbrick.mode=guided               ask a person before anything is written
    unbrick.finish=wait|power-off     do not restart at the end
    unbrick.stick=1A2B-3C4D           repair nothing before the stick with this volume serial number was read

The boot menu is on FAT, ISO or a network server, and unsigned: who can write there must not be able to switch
questions off, name a tally, or add a key. Every other word is reported and ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from unbrick.station.machine.small_files import text_of

COMMAND_LINE = Path("/proc/cmdline")
_PREFIX = "unbrick."
_SERIAL = re.compile(r"[0-9A-F]{4}-[0-9A-F]{4}")


@dataclass(frozen=True)
class KernelOptions:
    """The options that count; `notes` are sentences about the rest.

    `stick` is the volume serial number of the partition UNBRICK that the boot menu has seen on its own stick.
    """

    guided: bool = False
    finish: str | None = None
    stick: str | None = None
    notes: tuple[str, ...] = ()


def read_kernel_options(path: Path = COMMAND_LINE) -> KernelOptions:
    """The options of this boot; none where the line cannot be read."""
    return parse_kernel_options(text_of(path))


def parse_kernel_options(line: str) -> KernelOptions:
    """The options in a command line; of one that is given twice the last counts."""
    guided, finish, stick = False, None, None
    notes: list[str] = []
    for word in line.split():
        if not word.startswith(_PREFIX):
            continue
        name, _, value = word.removeprefix(_PREFIX).partition("=")
        if (name, value) == ("mode", "guided"):
            guided = True
        elif name == "finish" and value in {"wait", "power-off"}:
            finish = value
        elif name == "stick" and _SERIAL.fullmatch(value):
            stick = value
        else:
            notes.append(f"{word[:60]} on the kernel's command line is ignored: nobody has signed it")
    return KernelOptions(guided, finish, stick, tuple(notes))
