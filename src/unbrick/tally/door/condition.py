"""What is wrong with the tally, for `status` and `watch`: other processes than the one that serves.

The server writes it to a file of fixed size, in place: so it can report a full disk too.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from unbrick.files import opened_for_owner
from unbrick.tally.folder import TallyFolder

_SIZE = 512
_LOCKS = Path("/proc/locks")
_NAMESPACE = Path("/proc/self/ns/pid")
# PROC_PID_INIT_INO: a container does not show who holds a lock outside of it.
_FIRST_NAMESPACE = Path("pid:[4026531836]")


def write_condition(path: Path, text: str) -> None:
    """Write what is wrong, empty where nothing is. An error in writing it stops nothing else."""
    data = text.encode()[:_SIZE].decode(errors="ignore").encode().ljust(_SIZE)
    with suppress(OSError), opened_for_owner(path, os.O_WRONLY) as descriptor:
        os.pwrite(descriptor, data, 0)


def read_condition(path: Path) -> str | None:
    """What is wrong, or None; for an account that may not read it, a sentence that says so."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_SIZE).decode(errors="replace").strip()
    except PermissionError:
        return f"what ails this tally is not known from this account: give it read permission for {path}"
    except OSError:
        return None
    return text or None


def is_served(folder: TallyFolder) -> bool | None:
    """Whether a process serves this tally; None where that cannot be known."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return _is_locked(folder.lock)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _is_locked(path: Path) -> bool | None:
    """`is_served` for an account that may not open the lock: the kernel lists all locks to everybody."""
    try:
        inode = path.stat().st_ino
        locks = [line.split() for line in _LOCKS.read_text().splitlines()]
        sees_all = _NAMESPACE.readlink() == _FIRST_NAMESPACE
    except OSError:
        return None
    # The inode alone: some file systems show another device there than here.
    if any(len(one) > 5 and one[1] == "FLOCK" and one[5].endswith(f":{inode}") for one in locks):
        return True
    return False if sees_all else None


def read_trouble(folder: TallyFolder) -> str | None:
    """What a viewer of the tally must know: that nothing serves it, or another trouble; or None."""
    served = is_served(folder)
    if served is None:
        return (
            "whether anything serves this tally is not known from this account; "
            "look as the account that serves it, or as root"
        )
    if not served:
        return (
            "nothing serves this tally, and no station can report; "
            f"start it: unbrick tally serve {folder.path}"
        )
    return read_condition(folder.condition)
