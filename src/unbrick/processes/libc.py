"""The few calls to the kernel that Python does not have: mount, unmount, restart.

No program is started for them, so they also work when little else does.
"""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import NoReturn

_LIBC = ctypes.CDLL(None, use_errno=True)
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
_MNT_DETACH = 0x2
_CLONE_NEWNS = 0x0002_0000
_MS_REC, _MS_PRIVATE = 0x4000, 0x4_0000
# linux/reboot.h
_RESTART, _POWER_OFF = 0x0123_4567, 0x4321_FEDC


def mount_data(device: Path, folder: Path, kind: str, options: str, *, read_only: bool = False) -> None:
    """Mount a file system that holds data only: no programs, no devices, no set-uid. Raises OSError."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC | (_MS_RDONLY if read_only else 0)
    _check(
        _LIBC.mount(
            os.fsencode(device), os.fsencode(folder), kind.encode(), ctypes.c_ulong(flags), options.encode()
        ),
        str(folder),
    )


def unmount(folder: Path) -> None:
    """Unmount, also where the device is gone or a file is still open. Raises OSError."""
    _check(_LIBC.umount2(os.fsencode(folder), _MNT_DETACH), str(folder))


def leave_mount_namespace() -> None:
    """Have mounts of our own from now on, which nobody else sees. Raises OSError."""
    _check(_LIBC.unshare(_CLONE_NEWNS), "unshare")
    flags = ctypes.c_ulong(_MS_REC | _MS_PRIVATE)
    _check(_LIBC.mount(b"none", b"/", None, flags, None), "/")


def restart_platform() -> NoReturn:
    """Reset the machine at once: Windows is only ever reached through its own firmware. Raises OSError."""
    _reboot(_RESTART)


def power_off_platform() -> NoReturn:
    """Switch the machine off at once. Raises OSError."""
    _reboot(_POWER_OFF)


def _reboot(command: int) -> NoReturn:
    _check(_LIBC.reboot(ctypes.c_int(command - (1 << 32) if command >= 1 << 31 else command)), "reboot")
    raise OSError("the kernel did not restart the machine")


def _check(result: int, what: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), what)
