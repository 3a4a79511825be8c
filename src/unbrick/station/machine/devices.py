"""Waits for the devices of this machine, as short as can be: until udev has nothing left to do."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from unbrick.station.machine.small_files import text_of

DRIVERS_LOADED = Path("/run/unbrick-drivers-loaded")
"""What the first program makes once it has asked for every driver."""
_UDEV = Path("/run/udev")
_USB = Path("/sys/bus/usb/devices")
_HUB, _MASS_STORAGE = "09", "08"
# include/linux/usb/ch9.h and drivers/usb/common/common.c: between being found and being ready.
_SWITCHING_ON = {"attached", "powered", "reconnecting", "unauthenticated", "default", "addressed"}
# What USB needs from a hub's start until a stick shows, and then some.
_ENUMERATION_SECONDS = 3.0
_DRIVERS_SECONDS = 15.0
_SETTLE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05

T = TypeVar("T")


def settle(*, marker: Path = DRIVERS_LOADED, udev: Path = _UDEV) -> None:
    """Wait until drivers were asked for, and udev has dealt with the devices that it knows of."""
    wait_for(lambda: True if marker.exists() else None, _DRIVERS_SECONDS)
    wait_for(lambda: None if _is_at_work(udev) else True, _SETTLE_SECONDS)


def is_stick_coming(
    usb: Path = _USB,
    *,
    marker: Path = DRIVERS_LOADED,
    udev: Path = _UDEV,
    medium_is_there: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Whether a stick that is plugged in may not be seen yet.

    It may while drivers are loaded, while USB has a mass storage interface whose disk udev does not know (the
    kernel announces it once it has read the partitions), while something is being switched on at a port, and
    for a moment after a hub was found. With `medium_is_there`, the stick that we were started from, USB has
    had that moment.
    """
    if not marker.exists() or _is_at_work(udev):
        return True
    with suppress(OSError):
        for device in usb.iterdir():
            if text_of(device / "bInterfaceClass") == _MASS_STORAGE and _is_unfinished(device, udev):
                return True
            is_hub = not medium_is_there and text_of(device / "bDeviceClass") == _HUB
            if is_hub and (_is_new(device, udev, clock()) or _is_switching_on(device)):
                return True
    return False


def _is_at_work(udev: Path) -> bool:
    # udev keeps this file as long as it is at work; starting `udevadm settle` would cost more than looking.
    return (udev / "queue").exists()


def _is_unfinished(interface: Path, udev: Path) -> bool:
    # A mass storage interface has no disk yet, or one whose partitions are still being read.
    disks = list(interface.glob("**/block/*"))
    return not disks or not all((udev / "data" / f"b{text_of(disk / 'dev')}").exists() for disk in disks)


def _is_switching_on(hub: Path) -> bool:
    # The kernel is getting to know a device at a port; one that does not answer holds up others.
    return any(text_of(state) in _SWITCHING_ON for state in hub.glob("*/*-port*/state"))


def _is_new(hub: Path, udev: Path, now: float) -> bool:
    # udev notes when it first saw a device (I:), by the monotonic clock.
    for line in text_of(udev / "data" / f"c{text_of(hub / 'dev')}").splitlines():
        kind, _, microseconds = line.partition(":")
        if kind == "I" and microseconds.isdecimal():
            return now - int(microseconds) / 1e6 < _ENUMERATION_SECONDS
    return True


def wait_for(
    find: Callable[[], T],
    seconds: float,
    *,
    worth_waiting: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `find` finds, as soon as it is not empty or None, or the time is up, or waiting makes no sense.

    Then it looks once more: what came in between is found, also where a look took all the time there was.
    """
    deadline = clock() + seconds
    last = False
    while True:
        found = find()
        empty = found is None or (isinstance(found, Sequence) and not found)
        if not empty or last:
            return found
        last = clock() >= deadline or not worth_waiting()
        if not last:
            sleep(_PAUSE_SECONDS)
