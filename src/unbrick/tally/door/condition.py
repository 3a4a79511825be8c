"""What ails the tally, for `status` and `watch`, which are other processes than the one that serves.

The server says it in a file of fixed size: overwritten in place, it tells of a full disk too.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from unbrick.files import open_for_owner
from unbrick.tally.folder import TallyFolder

_SIZE = 512


def write_condition(path: Path, text: str) -> None:
    """Say what ails; the empty text says that all is well. Where it cannot be said, nothing else stops."""
    data = text.encode()[:_SIZE].decode(errors="ignore").encode().ljust(_SIZE)
    with suppress(OSError):
        descriptor = open_for_owner(path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)


def read_condition(path: Path) -> str | None:
    """What ails, or None."""
    try:
        with path.open("rb") as stream:
            text = stream.read(_SIZE).decode(errors="replace").strip()
    except OSError:
        return None
    return text or None


def is_served(folder: TallyFolder) -> bool:
    """Whether a process serves this tally; True where that cannot be known."""
    try:
        descriptor = os.open(folder.lock, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def read_trouble(folder: TallyFolder) -> str | None:
    """What whoever looks at the tally must know: that nothing serves it, or another trouble; or None."""
    if not is_served(folder):
        return (
            "nothing serves this tally, and no station can report; "
            f"start it: unbrick tally serve {folder.path}"
        )
    return read_condition(folder.condition)
