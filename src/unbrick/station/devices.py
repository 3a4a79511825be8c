"""Waits for the devices of this machine, as short as can be: until udev has nothing left to do.

A stick is waited for a little longer only where USB shows one that has no disk yet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

DRIVERS_LOADED = Path("/run/unbrick-drivers-loaded")
"""What the first program makes once it has asked for every driver."""
_UDEV_QUEUE = Path("/run/udev/queue")
_USB = Path("/sys/bus/usb/devices")
_MASS_STORAGE = "08"
# What USB needs from a driver's start until a stick shows, and then some.
_ENUMERATION_SECONDS = 3.0
_DRIVERS_SECONDS = 15.0
_SETTLE_SECONDS = 10.0
_PAUSE_SECONDS = 0.05

T = TypeVar("T")


def settle(*, marker: Path = DRIVERS_LOADED, queue: Path = _UDEV_QUEUE) -> None:
    """Wait until drivers were asked for, and udev has dealt with the devices that it knows of.

    udev keeps a file as long as it is at work; to start `udevadm settle` would cost more than looking there.
    """
    wait_for(lambda: True if marker.exists() else None, _DRIVERS_SECONDS)
    wait_for(lambda: None if queue.exists() else True, _SETTLE_SECONDS)


def is_stick_coming(
    folder: Path = _USB, *, marker: Path = DRIVERS_LOADED, medium_is_there: bool = False
) -> bool:
    """Whether drivers were loaded only now, or USB has a mass storage interface that shows no disk yet.

    Where the stick that we were started from is there, USB has had its moment: `medium_is_there`.
    """
    with suppress(OSError):
        if not medium_is_there and 0 <= time.time() - marker.stat().st_mtime < _ENUMERATION_SECONDS:
            return True
    with suppress(OSError):
        for interface in folder.iterdir():
            with suppress(OSError):
                kind = (interface / "bInterfaceClass").read_text().strip()
                if kind == _MASS_STORAGE and not any(interface.glob("**/block/*")):
                    return True
    return False


def wait_for(
    find: Callable[[], T],
    seconds: float,
    *,
    worth_waiting: Callable[[], bool] = lambda: True,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> T:
    """What `find` finds, as soon as it is something, or the time is up, or waiting makes no sense."""
    deadline = clock() + seconds
    while True:
        found = find()
        empty = found is None or (isinstance(found, Sequence) and not found)
        if not empty or clock() >= deadline or not worth_waiting():
            return found
        sleep(_PAUSE_SECONDS)
