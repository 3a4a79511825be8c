"""The services and class filters of one control set, and which file of the volume each of them names.

Knows how Windows writes an ImagePath ([MS-SCMR], and "Specifying driver load order" in the driver kit).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from unbrick.text import without_hidden
from unbrick.windows.hive import Hive

NAME_LIMIT = 256
_IMAGE_PATH_LIMIT = 2048
BOOT_START = 0
SYSTEM_START = 1

_PREFIX = re.compile(r"^(\\\?\?\\|\\\\[?.]\\|\\global\?\?\\|\\dosdevices\\)", re.IGNORECASE)
_DRIVE = re.compile(r"^([a-z]:|\\device\\harddisk(volume)?\d+(\\partition\d+)?(?=\\))", re.IGNORECASE)
_WINDOWS_FOLDER = re.compile(r"^(\\systemroot|%systemroot%|%windir%)(?=\\|$)", re.IGNORECASE)
_KNOWN_VARIABLES = {
    "%systemdrive%": "",
    "%programfiles%": "\\Program Files",
    "%programfiles(x86)%": "\\Program Files (x86)",
    "%programdata%": "\\ProgramData",
    "%allusersprofile%": "\\ProgramData",
}
_PROGRAM = re.compile(r"^.*?\.(sys|exe|dll)(?=\s|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Service:
    """One service or driver. `start`: 0 boot, 1 system, 2 automatic, 3 on demand, 4 disabled."""

    name: str
    start: int | None
    type: int | None
    image_path: str | None


def read_services(hive: Hive, control_set: int) -> tuple[Service, ...]:
    key = hive.key(f"ControlSet{control_set:03}\\Services")
    return tuple(
        Service(
            without_hidden(name, NAME_LIMIT),
            service.number("Start"),
            service.number("Type"),
            _shown(next(iter(service.texts("ImagePath")), None)),
        )
        for name, service in (key.children() if key else ())
    )


def _shown(image_path: str | None) -> str | None:
    return without_hidden(image_path, _IMAGE_PATH_LIMIT) or None if image_path is not None else None


def read_class_filters(hive: Hive, control_set: int) -> tuple[str, ...]:
    """The names in `UpperFilters` and `LowerFilters` of all device classes, each once, sorted."""
    key = hive.key(f"ControlSet{control_set:03}\\Control\\Class")
    names: dict[str, str] = {}
    for _, device_class in key.children() if key else ():
        for value in ("UpperFilters", "LowerFilters"):
            for text in device_class.texts(value):
                name = without_hidden(text, NAME_LIMIT)
                if name:
                    names.setdefault(name.casefold(), name)
    return tuple(sorted(names.values(), key=str.casefold))


def comparable_path(windows_path: str) -> str:
    """A path from the volume's root with backslashes, without `.` and `..`, in lower case."""
    parts: list[str] = []
    for part in windows_path.replace("/", "\\").split("\\"):
        clean = part.rstrip(" .")
        if part == "..":
            parts = parts[:-1]
        elif clean:
            parts.append(clean)
    return "\\" + "\\".join(parts).casefold()


def file_of(service: Service, windows_folder: str) -> str:
    """The file that a service names, as `comparable_path` returns it.

    A path with a drive letter counts as on this volume: the letter that Windows gives it is not known here,
    and taking one file too many for a driver's only makes a guard stricter.
    """
    path = _PREFIX.sub("", (service.image_path or "").strip())
    if path.startswith('"'):
        path = path[1:].split('"', 1)[0]
    elif program := _PROGRAM.match(path):
        path = program.group()
    path = _PREFIX.sub("", path).replace("/", "\\")
    if not path:
        return comparable_path(f"{windows_folder}\\System32\\drivers\\{service.name}.sys")
    if _WINDOWS_FOLDER.match(path):
        return comparable_path(windows_folder + "\\" + _WINDOWS_FOLDER.sub("", path))
    variable = path.split("\\", 1)[0].casefold()
    if variable in _KNOWN_VARIABLES:
        return comparable_path(_KNOWN_VARIABLES[variable] + path[len(variable) :])
    without_drive = _DRIVE.sub("", path)
    if without_drive != path or path.startswith("\\"):
        return comparable_path(without_drive)
    return comparable_path(windows_folder + "\\" + path)


def boot_files(services: Iterable[Service], filters: Iterable[str], windows_folder: str) -> dict[str, str]:
    """The files without which Windows may not start, each with the name of the service that names it.

    Those of services with Start 0 or 1, and of those in a class filter, with any Start.
    """
    known = tuple(services)  # two odd names may look alike: none may hide another
    by_name = {service.name.casefold(): service for service in known}
    wanted = [service for service in known if service.start in (BOOT_START, SYSTEM_START)]
    wanted += [by_name.get(name.casefold()) or Service(name, None, None, None) for name in filters]
    return {file_of(service, windows_folder): service.name for service in wanted}
