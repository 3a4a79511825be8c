"""What a stick is before it is written: model, serial number, size, contents; and whether it may be wiped.

Only looks. A plain file is a virtual machine's disk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, UsageError
from unbrick.media.stick.layout import LABEL, SECTOR
from unbrick.processes.command import Runner
from unbrick.settings.strict import parse_json

_TIMEOUT = 60.0
_FACTS = "TYPE,RM,RO,TRAN,VENDOR,MODEL,SERIAL,LOG-SEC"
# Partition types that only a Windows makes: reserved, recovery, dynamic disk (both), storage pool.
_WINDOWS_TYPES = {
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC",
    "5808C8AA-7E8F-42E0-85D2-E1E90434CFB3",
    "AF9B60A0-1431-4F62-BC68-3311714A69AD",
    "E75CAF8F-F680-4CEE-AFA3-B001E56EFC2D",
}
_WINDOWS_FILE_SYSTEMS = {"ntfs": "NTFS", "bitlocker": "BitLocker", "refs": "ReFS"}
# By their first sector alone: blkid does not know a damaged one, which is still a Windows.
_WINDOWS_MARKS = {b"NTFS    ": "NTFS", b"-FVE-FS-": "BitLocker", b"ReFS\0\0\0\0": "ReFS"}
_MOST_PARTITIONS = 256


class TargetKind(StrEnum):
    """What is to be written to; a loop device is an attached file."""

    DISK = "disk"
    LOOP = "loop"
    FILE = "file"


@dataclass(frozen=True)
class Content:
    """One partition, or the whole disk (`number` None); `length` in bytes.

    `windows` says why it is taken for a part of a Windows; `reports` counts the reports in an outbox on it.
    """

    number: int | None
    length: int
    file_system: str | None
    label: str | None
    windows: str | None = None
    reports: int = 0


@dataclass(frozen=True)
class Target:
    """A stick as it was found; `size` in bytes."""

    path: Path
    kind: TargetKind
    size: int
    model: str | None
    serial: str | None
    removable: bool
    contents: tuple[Content, ...]

    @property
    def windows(self) -> str | None:
        """Why this disk is taken for one of a Windows, if it is."""
        return next((content.windows for content in self.contents if content.windows), None)


def look_at(path: Path, runner: Runner) -> Target:
    """Look at a disk, loop device or file; raises UsageError for anything else, also for a partition."""
    path = path.absolute()  # the programs that are asked do not run in our folder
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise UsageError(
            f"{path}: {error.strerror}", hint="name the stick's device, as in /dev/sdb"
        ) from error
    if stat.S_ISREG(mode):
        size = path.stat().st_size
        return Target(path, TargetKind.FILE, size, None, None, True, _contents(path, size, runner))
    if not stat.S_ISBLK(mode):
        raise UsageError(f"{path}: is no disk", hint="name the stick's device, as in /dev/sdb")
    facts = _facts(path, runner)
    kind = facts.get("type")
    if kind == "part":
        raise UsageError(
            f"{path}: is a partition", hint="name the whole stick, as in /dev/sdb and not /dev/sdb1"
        )
    if kind not in ("disk", "loop"):
        raise UsageError(f"{path}: is no stick (but {kind or 'nothing that is attached'})")
    if facts.get("ro"):
        raise UsageError(
            f"{path}: is write-protected", hint="move the little switch on the stick, or take another"
        )
    size = _size(path)
    if size and facts.get("log-sec") not in (SECTOR, None):
        raise UsageError(
            f"{path}: has sectors of {facts['log-sec']} bytes", hint="take a stick with 512-byte ones"
        )
    names = (_text(facts.get("vendor")), _text(facts.get("model")))
    return Target(
        path=path,
        kind=TargetKind(kind),
        size=size,
        model=" ".join(name for name in names if name) or None,
        serial=_text(facts.get("serial")),
        removable=bool(facts.get("rm")) or facts.get("tran") == "usb" or _is_sd_card(path),
        contents=_contents(path, size, runner),
    )


def refuse(target: Target, serial: str | None) -> None:
    """Raise UsageError where a target must not be wiped, unless `serial` is its serial number.

    Does not ask whether the target is in use.
    """
    if serial is not None:
        if target.serial is None or target.serial.casefold() != serial.strip().casefold():
            raise UsageError(
                f"{target.path}: its serial number is {target.serial or 'not known'}, and not {serial}",
                hint="this is another disk than you think: nothing was touched",
            )
        return
    if target.kind is TargetKind.DISK and not target.removable:
        raise UsageError(
            f"{target.path}: is not removable: {_description(target)}", hint=_how_to_insist(target)
        )
    if target.windows:
        raise UsageError(f"{target.path}: holds a Windows: {target.windows}", hint=_how_to_insist(target))
    if target.size == 0:
        raise UsageError(f"{target.path}: is empty: no card in the reader, or a file without a size")


def refuse_another(target: Target, now: Target) -> None:
    """Raise UsageError where what is there `now` is not what was looked at: sticks change places."""
    if now != target:
        raise UsageError(
            f"{target.path}: is not what it was a moment ago", hint="nothing was touched: begin again"
        )


def describe(target: Target) -> Iterator[str]:
    yield f"{target.path}: {_description(target)}"
    for content in target.contents:
        place = f"partition {content.number}" if content.number is not None else "the whole disk"
        words = content.file_system or "nothing that is known"
        label = f" {content.label!r}" if content.label else ""
        yield f"  {place}, {in_words(content.length)}: {words}{label}"
    if not target.contents:
        yield "  nothing that is known lies on it"


def in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _description(target: Target) -> str:
    if target.kind is not TargetKind.DISK:
        return (
            f"a {target.kind.value}{' device' * (target.kind is TargetKind.LOOP)} of {in_words(target.size)}"
        )
    serial = f"serial number {target.serial}" if target.serial else "without a serial number"
    return f"{target.model or 'a disk without a name'}, {serial}, {in_words(target.size)}"


def _how_to_insist(target: Target) -> str:
    if target.serial:
        return f"take another stick; or, if really this disk is to be wiped, add --serial {target.serial}"
    if target.kind is TargetKind.FILE:
        return "take a new file of the wanted size (truncate -s 1G stick.img)"
    return (
        "take another stick, or empty this one yourself (wipefs --all): it has no serial number to name it by"
    )


def _facts(path: Path, runner: Runner) -> dict[str, Any]:
    argv = ["lsblk", "--json", "--bytes", "--nodeps", "--output", _FACTS, str(path)]
    document = parse_json(runner.run(argv, timeout=_TIMEOUT).stdout or b"{}")
    devices = document.get("blockdevices") or [{}]
    return {str(key): value for key, value in devices[0].items()}


def _is_sd_card(path: Path) -> bool:
    # A card in a built-in reader says that it is not removable; soldered memory calls itself MMC.
    try:
        return Path("/sys/class/block", path.resolve().name, "device/type").read_text().strip() == "SD"
    except OSError:
        return False


def _size(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise FailedError(f"{path}: cannot be opened: {error.strerror}", hint="run as root (sudo)") from error
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def _contents(path: Path, size: int, runner: Runner) -> tuple[Content, ...]:
    result = runner.run(["sfdisk", "--json", str(path)], timeout=_TIMEOUT, ok=None)
    if result.returncode == 0:
        table = parse_json(result.stdout)["partitiontable"]
        sector = int(table.get("sectorsize", SECTOR))
        found = []
        for number, entry in enumerate(table.get("partitions", ())[:_MOST_PARTITIONS], 1):
            offset, length = int(entry["start"]) * sector, int(entry["size"]) * sector
            found.append(_content(path, number, entry, offset, length, runner))
        if found:
            return tuple(found)
    whole = _content(path, None, {}, 0, size, runner)
    return (whole,) if whole.file_system is not None else ()


def _content(
    path: Path, number: int | None, listed: dict[str, Any], offset: int, length: int, runner: Runner
) -> Content:
    seen = _probe(path, offset, length, runner)
    kind = seen.get("TYPE")
    place = f"partition {number}" if number is not None else "it"
    windows = None
    word = _WINDOWS_FILE_SYSTEMS.get((kind or "").casefold()) or _WINDOWS_MARKS.get(_mark(path, offset))
    if word:
        windows = f"{place} is {word}"
    elif str(listed.get("type", "")).upper() in _WINDOWS_TYPES:
        windows = f"{place} is of a type that only Windows makes"
    elif kind == "vfat" and _has_windows_loader(path, offset, runner):
        windows = f"{place} has Windows' boot files (EFI\\Microsoft)"
    label = seen.get("LABEL") or _text(listed.get("name"))
    reports = _waiting_reports(path, offset, runner) if (kind, label) == ("vfat", LABEL) else 0
    return Content(number, length, kind, label, windows, reports)


def _probe(path: Path, offset: int, length: int, runner: Runner) -> dict[str, str]:
    place = ["--offset", str(offset), "--size", str(length)]
    argv = ["blkid", "--probe", "--output", "export", *place, str(path)]
    result = runner.run(argv, timeout=_TIMEOUT, ok=None)
    lines = result.stdout.decode(errors="replace").splitlines() if result.returncode == 0 else []
    pairs = (line.partition("=") for line in lines)
    return {key: value.replace("\\", "") for key, _, value in pairs}


def _mark(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as stream:
            stream.seek(offset + 3)
            return stream.read(8)
    except OSError:
        return b""


def _has_windows_loader(path: Path, offset: int, runner: Runner) -> bool:
    argv = ["mdir", "-b", "-i", f"{path}@@{offset}", "::/EFI/Microsoft"]
    return runner.run(argv, timeout=_TIMEOUT, ok=None).returncode == 0


def _waiting_reports(path: Path, offset: int, runner: Runner) -> int:
    """How many reports a stick of ours holds; a station removes those that were sent."""
    argv = ["mdir", "-b", "-i", f"{path}@@{offset}", "::/outbox"]
    listed = runner.run(argv, timeout=_TIMEOUT, ok=None).stdout.splitlines()
    return sum(line.endswith(b".json") for line in listed)


def _text(value: object) -> str | None:
    return value.strip() or None if isinstance(value, str) else None
