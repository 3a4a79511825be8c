"""Asks the kernel whether a disk encrypts itself (TCG Opal) and is locked.

A locked disk reads as zeros or errors, or shows a small start area instead of its own; what is written there
is lost. Source: Linux's `uapi/linux/sed-opal.h`.
"""

from __future__ import annotations

import fcntl
import struct

_GET_STATUS = 0x800870EC  # _IOR('p', 236, struct opal_status)
_STATUS = struct.Struct("<II")
_LOCKED, _SHADOW_ENABLED, _SHADOW_DONE = 0x8, 0x10, 0x20


def is_opal_locked(descriptor: int) -> bool:
    """Whether an open block device is locked; false where it is none, or the kernel cannot tell."""
    try:
        answer = fcntl.ioctl(descriptor, _GET_STATUS, bytes(_STATUS.size))
    except OSError:
        return False
    flags, _ = _STATUS.unpack(answer)
    return is_locked(flags)


def is_locked(flags: int) -> bool:
    # While a start area is shown, the disk's own bytes cannot be reached.
    shadowed = bool(flags & _SHADOW_ENABLED) and not flags & _SHADOW_DONE
    return bool(flags & _LOCKED) or shadowed
