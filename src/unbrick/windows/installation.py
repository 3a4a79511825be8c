"""The Windows installations on a mounted volume: name, version, services.

Only looks. A hive that cannot be read makes an installation `readable=False`; it never hides one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, Reason
from unbrick.files import PathError, find_inside, is_inside
from unbrick.processes.bounded import ReaderEndedError, run_bounded
from unbrick.text import without_hidden
from unbrick.windows.hive import Hive, UnreadableHiveError, open_hive
from unbrick.windows.services import (
    Service,
    boot_files,
    comparable_path,
    read_class_filters,
    read_services,
)

HIVE_SECONDS = 60.0
"""The longest that reading one hive may take."""

_GUID = re.compile(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}")
_HOSTNAME_LIMIT = 63
_WORD_LIMIT = 100
_FIRST_WINDOWS_11_BUILD = 22000
_CURRENT_VERSION = "Microsoft\\Windows NT\\CurrentVersion"


@dataclass(frozen=True)
class Installation:
    r"""One Windows. `folder` is its path from the volume's root, `\Windows`, as the disk has it.

    All other texts are safe to print. `class_filters` are the service names in `UpperFilters` and
    `LowerFilters`, `auto_unlocked` the BitLocker identifiers of the volumes whose keys this Windows keeps.
    Where `readable` is False, the SYSTEM or SOFTWARE hive could not be read, or not whole (`warnings` says
    why), and no answer about services can be relied on.
    """

    folder: str
    hostname: str | None = None
    product: str | None = None
    edition: str | None = None
    build: int | None = None
    revision: int | None = None
    display: str = "Windows"
    control_set: int | None = None
    services: tuple[Service, ...] = field(default=(), repr=False)
    class_filters: tuple[str, ...] = field(default=(), repr=False)
    auto_unlocked: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    readable: bool = True

    @cached_property
    def _boot_files(self) -> dict[str, str]:
        return boot_files(self.services, self.class_filters, self.folder)

    def service(self, name: str) -> Service | None:
        wanted = name.casefold()
        return next((service for service in self.services if service.name.casefold() == wanted), None)

    def names_boot_file(self, windows_path: str) -> str | None:
        """The Start 0 or 1 service, or class filter, whose file this is (a path from the volume's root).

        Without such a file Windows may not start.
        """
        return self._boot_files.get(comparable_path(windows_path))

    def boot_files_in(self, windows_folder: str, *, whole_tree: bool = False) -> dict[str, str]:
        """The files in one folder that Windows starts (see `names_boot_file`), each with its service's name.

        Both paths count from the volume's root; those given are in lower case.
        """
        within = comparable_path(windows_folder)
        return {
            path: name
            for path, name in self._boot_files.items()
            if path.rpartition("\\")[0] == within or (whole_tree and path.startswith(within + "\\"))
        }


def find_installations(root: Path) -> tuple[Installation, ...]:
    """Every Windows in a top-level folder of a mounted volume, by name; `Windows.old` does not count.

    Raises FailedError where the root cannot be listed, or the library that reads hives is missing.
    """
    try:
        with os.scandir(root) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError as error:
        raise FailedError(
            f"the volume's root folder cannot be read: {error.strerror}",
            hint="let Windows check it (chkdsk /f, from its recovery environment), then run unbrick again",
            reason=Reason.DAMAGED_VOLUME,
        ) from error
    found = (_read_folder(root, name) for name in sorted(names, key=str.casefold))
    return tuple(installation for installation in found if installation is not None)


def _read_folder(root: Path, name: str) -> Installation | None:
    if name.casefold().startswith("windows.old"):
        return None
    folder = f"\\{name}"
    try:
        system = find_inside(root, f"{folder}\\System32\\config\\SYSTEM")
        software = find_inside(root, f"{folder}\\System32\\config\\SOFTWARE")
        # Only Windows PE has this program; it starts from memory, and there is nothing to repair in it.
        preinstallation = is_inside(root, f"{folder}\\System32\\winpeshl.exe")
        kernel = is_inside(root, f"{folder}\\System32\\ntoskrnl.exe")
    except (PathError, OSError) as error:
        if name.casefold() != "windows":
            return None
        why = error.message if isinstance(error, PathError) else str(error.strerror)
        return Installation(folder, warnings=(f"its hives cannot be reached: {why}",), readable=False)
    if preinstallation:
        return None
    if system is None or software is None:
        if not kernel or name.casefold() != "windows":
            return None
        missing = "SYSTEM" if system is None else "SOFTWARE"
        return Installation(folder, warnings=(f"its registry hive {missing} is missing",), readable=False)
    return _read_software(_read_system(Installation(folder), system), software)


def _read_hive(path: Path, read: Callable[[Hive], dict[str, Any]]) -> dict[str, Any]:
    """What `read` returns for a hive, with `warnings` and `whole` (nothing was lost) added.

    Raises UnreadableHiveError; ReaderEndedError where the reason is not the hive.
    """

    def work() -> dict[str, Any]:
        try:
            with open_hive(path) as hive:
                facts = read(hive)
                lost = (f"{path.name}: {hive.damaged} damaged entries were left out",) if hive.damaged else ()
                whole = not hive.damaged and not hive.cut_off
                return facts | {"warnings": hive.warnings + lost, "whole": whole}
        except UnreadableHiveError as error:
            return {"unreadable": error.why}

    try:
        facts: dict[str, Any] = run_bounded(work, seconds=HIVE_SECONDS)
    except ReaderEndedError as error:
        if error.reason == Reason.MISSING_TOOL:
            raise
        raise UnreadableHiveError(path.name, error.message) from error
    if "unreadable" in facts:
        raise UnreadableHiveError(path.name, facts["unreadable"])
    return facts


def _control_set(hive: Hive) -> int | None:
    """The control set Windows ran last, else the one it would start with, else the first."""
    for number in (hive.number("Select", "Current"), hive.number("Select", "Default"), 1):
        if number and hive.key(f"ControlSet{number:03}") is not None:
            return number
    return None


def _system_facts(hive: Hive) -> dict[str, Any]:
    number = _control_set(hive)
    if number is None:
        return {"control_set": None}
    control = f"ControlSet{number:03}"
    name = hive.text(f"{control}\\Control\\ComputerName\\ComputerName", "ComputerName")
    name = name or hive.text(f"{control}\\Services\\Tcpip\\Parameters", "NV Hostname")
    return {
        "control_set": number,
        "hostname": without_hidden(name or "", _HOSTNAME_LIMIT) or None,
        "services": [(s.name, s.start, s.type, s.image_path) for s in read_services(hive, number)],
        "filters": read_class_filters(hive, number),
        "auto_unlocked": _auto_unlocked(hive, control),
    }


def _auto_unlocked(hive: Hive, control: str) -> list[str]:
    key = hive.key(f"{control}\\Control\\FVEAutoUnlock")
    names = (name.strip("{}").upper() for name, _ in (key.children() if key else ()))
    return [name for name in names if _GUID.fullmatch(name)]


def _read_system(installation: Installation, path: Path) -> Installation:
    try:
        facts = _read_hive(path, _system_facts)
    except UnreadableHiveError as error:
        return _unreadable(installation, error.message)
    read = replace(installation, warnings=(*installation.warnings, *facts["warnings"]))
    if facts["control_set"] is None:
        return _unreadable(read, f"{path.name} has no control set")
    read = replace(
        read,
        readable=facts["whole"],  # a service that was lost might be the one that a guard must know
        control_set=facts["control_set"],
        hostname=facts["hostname"],
        services=tuple(Service(*row) for row in facts["services"]),
        class_filters=tuple(facts["filters"]),
        auto_unlocked=tuple(facts["auto_unlocked"]),
    )
    return read if read.services else _unreadable(read, f"{path.name} lists no services")


def _software_facts(hive: Hive) -> dict[str, Any]:
    texts = ("ProductName", "EditionID", "DisplayVersion", "ReleaseId", "CSDVersion")
    facts: dict[str, Any] = {
        name: without_hidden(hive.text(_CURRENT_VERSION, name) or "", _WORD_LIMIT) or None for name in texts
    }
    build = hive.text(_CURRENT_VERSION, "CurrentBuildNumber") or hive.text(_CURRENT_VERSION, "CurrentBuild")
    facts["build"] = int(build) if build and build.isascii() and build.isdigit() and len(build) < 7 else None
    return facts | {"revision": hive.number(_CURRENT_VERSION, "UBR")}


def _read_software(installation: Installation, path: Path) -> Installation:
    try:
        facts = _read_hive(path, _software_facts)
    except UnreadableHiveError as error:
        return _unreadable(installation, error.message)
    build, revision = facts["build"], facts["revision"]
    product = _product(facts["ProductName"], build)
    version = facts["DisplayVersion"] or facts["ReleaseId"] or facts["CSDVersion"]
    number = None if build is None else f"({build})" if revision is None else f"({build}.{revision})"
    return replace(
        installation,
        product=product,
        edition=facts["EditionID"],
        build=build,
        revision=revision,
        display=" ".join(part for part in (product or "Windows", version, number) if part),
        warnings=(*installation.warnings, *facts["warnings"]),
    )


def _product(name: str | None, build: int | None) -> str | None:
    # In the registry, Windows 11 still calls itself Windows 10.
    if name and build and build >= _FIRST_WINDOWS_11_BUILD and name.startswith("Windows 10"):
        return "Windows 11" + name.removeprefix("Windows 10")
    return name


def _unreadable(installation: Installation, warning: str) -> Installation:
    return replace(installation, warnings=(*installation.warnings, warning), readable=False)
