"""What ails the running tally, in a file of fixed size: overwritten in place, it tells of a full disk too.

Read by `status` and `watch`, which are other processes.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_SIZE = 512


def write_condition(path: Path, text: str) -> None:
    """Say what ails; the empty text says that all is well. Where it cannot be said, nothing else stops."""
    data = text.encode()[:_SIZE].decode(errors="ignore").encode().ljust(_SIZE)
    with suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
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
