"""The disks that a station works on: each whole disk or array built into this machine, members never.

Arrays are put together first, as Intel's firmware or Linux made them, so that both halves of a mirror stay
the same. Until the first write an array is read-only, so that looking changes nothing on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.identify.members import find_firmware_raid, find_linux_raid
from unbrick.disks.raw_view import RawView
from unbrick.errors import UnbrickError
from unbrick.processes.command import Runner
from unbrick.station.machine.block_devices import BlockDevice, list_block_devices
from unbrick.station.machine.devices import wait_for
from unbrick.station.screen.sheet import drawable
from unbrick.station.stick.partition import find_medium

START_READ_ONLY = Path("/sys/module/md_mod/parameters/start_ro")
_ASSEMBLY_SECONDS = 60.0
_STOP_SECONDS = 30.0
_STANDS = {"clean", "active", "active-idle", "read-auto", "readonly", "write-pending"}
# Intel's metadata is also found where its option ROM does not answer: after a change in the BIOS, in a VM.
_MDADM = ("env", "IMSM_NO_PLATFORM=1", "mdadm")
_ASSEMBLE = (*_MDADM, "--assemble", "--scan")
# As long as other members may still be on their way, no array is started without them.
_MEMBER_SECONDS = 10.0


@dataclass(frozen=True)
class Target:
    """A disk to work on; `notes` are sentences about the array it is."""

    path: Path
    notes: tuple[str, ...] = ()


def choose_targets(devices: Sequence[BlockDevice], *, medium: frozenset[str] = frozenset()) -> list[Target]:
    """Which of the devices to work on; `medium` names those that carry the medium itself."""
    return [
        Target(device.path, tuple(_notes(device)))
        for device in devices
        if device.size > 0 and not device.outside and not device.optical and device.name not in medium
        if not device.held_by and not device.container
        if device.array is None or device.array in _STANDS
    ]


def find_left_alone(
    devices: Sequence[BlockDevice], *, medium: frozenset[str] = frozenset()
) -> tuple[str, ...]:
    """The disks that are not worked on because they are plugged in from outside, as a person knows them."""
    return tuple(
        drawable(_called(device))
        for device in devices
        if device.size > 0 and device.outside and not device.optical and device.name not in medium
        if not device.held_by
    )


def _called(device: BlockDevice) -> str:
    size = f"{device.size / 1e9:.0f} GB" if device.size >= 1e9 else f"{device.size / 1e6:.0f} MB"
    return f"{device.name} ({device.model}, {size})" if device.model else f"{device.name} ({size})"


def _notes(device: BlockDevice) -> Iterator[str]:
    if device.degraded:
        yield "a disk of this RAID is missing or has failed; it is worked on as it stands"
    if device.syncing:
        yield "this RAID is rebuilding its disks; Windows' own driver goes on with that"


def assemble_arrays(
    runner: Runner,
    *,
    find: Callable[[], Sequence[BlockDevice]] = list_block_devices,
    start_read_only: Path = START_READ_ONLY,
) -> str | None:
    """Put the arrays together whose members are here; a sentence where that could not be done.

    An array that lacks a disk is started only when that has had time to come.
    """
    if not _has_free_members(find()):
        return None
    with suppress(OSError):
        start_read_only.write_text("1")

    def assemble_more() -> bool | None:
        if _has_free_members(find()):
            # 1 and 2: some array could not be had. What stands is worked on, a lone member is left alone.
            runner.run((*_ASSEMBLE, "--no-degraded"), timeout=_ASSEMBLY_SECONDS, ok=(0, 1, 2))
        devices = find()
        return None if _has_free_members(devices) or _unstarted(devices) else True

    try:
        if wait_for(assemble_more, _MEMBER_SECONDS) is None:
            _start_without_the_missing(runner, find)
    except UnbrickError as error:
        return f"RAID arrays could not be put together: {error.message}"
    return None


def gather_targets(
    runner: Runner,
    tell: Callable[[str], None],
    *,
    find: Callable[[], Sequence[BlockDevice]] = list_block_devices,
    find_medium: Callable[[Sequence[BlockDevice]], Sequence[BlockDevice]] = find_medium,
) -> list[Target]:
    """The disks to work on, arrays put together first; `tell` is given a sentence where that fails."""
    # They are chosen in one look, in which no member was free but those that no array could be made of: one
    # that comes a moment later must not be taken for a disk of its own.
    tried: set[str] = set()
    while True:
        devices = find()
        free = {device.name for device in devices if _holds_member(device)}
        if free <= tried:
            return choose_targets(devices, medium=frozenset(disk.name for disk in find_medium(devices)))
        tried |= free
        if problems := assemble_arrays(runner, find=find):
            tell(problems)


def _start_without_the_missing(runner: Runner, find: Callable[[], Sequence[BlockDevice]]) -> None:
    if _has_free_members(find()):
        runner.run((*_ASSEMBLE, "--run"), timeout=_ASSEMBLY_SECONDS, ok=(0, 1, 2))
    for array in _unstarted(find()):
        how = ("--incremental", "--run") if array.container else ("--run",)
        runner.run((*_MDADM, *how, str(array.path)), timeout=_ASSEMBLY_SECONDS, ok=None)


def _unstarted(devices: Sequence[BlockDevice]) -> list[BlockDevice]:
    # Containers with a disk that no started array has, and arrays that were put together only in part.
    containers = {device.name for device in devices if device.container}
    idle = {name for device in devices for name in device.held_by if set(device.held_by) <= containers}
    return [
        device
        for device in devices
        if (device.container and device.name in idle)
        or (device.array is not None and not device.container and device.array not in _STANDS)
    ]


def _has_free_members(devices: Sequence[BlockDevice]) -> bool:
    return any(_holds_member(device) for device in devices)


def close_arrays(devices: Sequence[BlockDevice], runner: Runner) -> list[str]:
    """Mark every array clean and stop it, so that the firmware finds it whole; sentences where one is not."""
    problems = []
    arrays = [device for device in devices if device.array is not None]
    for device in sorted(arrays, key=lambda one: one.container):
        try:
            if not device.container:
                # 1: it had nothing to wait for.
                runner.run(("mdadm", "--wait-clean", str(device.path)), timeout=_STOP_SECONDS, ok=(0, 1))
            runner.run(("mdadm", "--stop", str(device.path)), timeout=_STOP_SECONDS)
        except UnbrickError as error:
            problems.append(f"the RAID {device.name} was not closed: {error.message}")
    return problems


def _holds_member(
    device: BlockDevice, *, open_device: Callable[[Path], int] = lambda path: os.open(path, os.O_RDONLY)
) -> bool:
    """Whether a disk, or one of its partitions, has the signature of a RAID member."""
    if device.array is not None or device.held_by or device.outside or device.optical or not device.size:
        return False
    places = [device.path, *(device.path.with_name(name) for name in device.partitions)]
    return any(_is_member(place, open_device) for place in places)


def _is_member(path: Path, open_device: Callable[[Path], int]) -> bool:
    try:
        with os.fdopen(open_device(path), "rb", buffering=0) as stream:
            view = RawView(stream, stream.seek(0, os.SEEK_END), str(path))
            return find_firmware_raid(view) is not None or find_linux_raid(view) is not None
    except (OSError, UnbrickError):
        return False
