"""The calls to the kernel that Python does not have, by the C library: each raises OSError where it fails.

No program is started for them, so they work when little else does.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from pathlib import Path
from typing import NoReturn

# sched.h
CLONE_NEWNS, CLONE_NEWPID = 0x0002_0000, 0x2000_0000
# sys/mount.h
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 0x1, 0x2, 0x4, 0x8
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x4_0000
_MNT_DETACH, _UMOUNT_NOFOLLOW = 0x2, 0x8
# linux/prctl.h
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
# linux/reboot.h
_RESTART, _POWER_OFF = 0x0123_4567, 0x4321_FEDC
_XATTR_LIMIT = 64 * 1024

_LIBC = ctypes.CDLL(None, use_errno=True)
# Without these a flag or an argument that is left out would be an int, where the kernel reads a long.
_LIBC.prctl.argtypes = (ctypes.c_int, *(ctypes.c_ulong,) * 4)
_LIBC.mount.argtypes = (*(ctypes.c_char_p,) * 3, ctypes.c_ulong, ctypes.c_char_p)
_LIBC.lgetxattr.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_LIBC.lgetxattr.restype = ctypes.c_ssize_t


def signal_at_parents_death(number: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send us this signal when the thread that forked us ends."""
    _check(_LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0), "prctl")


def forbid_core_dumps() -> None:
    """Keep what a process holds out of core dumps and away from debuggers: it may be a key.

    For this process, its forks, and (the limit alone) the programs that it starts. From then on only root may
    attach to it, read its memory, or open its files through /proc.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # The limit alone stops no dump into a program, as `core_pattern` may have it.
    _check(_LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def unshare(flags: int) -> None:
    """`flags` are `CLONE_NEW…`."""
    _check(_LIBC.unshare(flags), "unshare")


def mount(source: Path | str, target: Path | str, kind: str | None, flags: int, options: str = "") -> None:
    """See mount(2); `flags` are `MS_…`."""
    words = (os.fsencode(source), os.fsencode(target), kind.encode() if kind else None)
    _check(_LIBC.mount(*words, flags, options.encode() or None), target)


def mount_data(device: Path, folder: Path, kind: str, options: str, *, read_only: bool = False) -> None:
    """Mount a file system that holds data only: no programs, no devices, no set-uid."""
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | (MS_RDONLY if read_only else 0)
    mount(device, folder, kind, flags, options)


def make_mounts_private() -> None:
    """In a mount namespace of our own: keep later mounts inside it."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)


def unmount(path: Path, *, detach: bool = False) -> None:
    """`detach`: also where the device is gone or a file is still open."""
    _check(_LIBC.umount2(os.fsencode(path), _UMOUNT_NOFOLLOW | (_MNT_DETACH if detach else 0)), path)


def read_xattr(path: Path, name: str) -> bytes:
    """An extended attribute of at most 64 KiB, links not followed."""
    # `os.getxattr` asks for the size first, which ntfs-3g answers with EIO for a reparse point.
    buffer = ctypes.create_string_buffer(_XATTR_LIMIT)
    length = _check(_LIBC.lgetxattr(os.fsencode(path), name.encode(), buffer, _XATTR_LIMIT), path)
    return buffer.raw[:length]


def restart_platform() -> NoReturn:
    """Reset the machine at once: Windows is only ever reached through its own firmware."""
    _reboot(_RESTART)


def power_off_platform() -> NoReturn:
    _reboot(_POWER_OFF)


def _reboot(command: int) -> NoReturn:
    _check(_LIBC.reboot(command), "reboot")
    raise OSError("the kernel did not restart the machine")


def _check(result: int, what: Path | str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(what))
    return result
