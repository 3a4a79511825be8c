"""Room on the disk: how much there is, when it is short, and a reserve for what must be written.

The reserve is a filled file. On a full disk it is freed, piece by piece, for a revocation and for lines of
the audit. Reports never use it: the server stores nothing while less than that is free.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from unbrick.files import is_disk_full, opened_for_owner

RESERVE = "reserve"
_MOST_RESERVED = 4 * 1024 * 1024
_PIECE = 64 * 1024
_MOST_ALARMED = 2 * 1024**3


@dataclass(frozen=True)
class Room:
    """The disk below a folder, in bytes; `free` is what an ordinary user may still fill."""

    free: int
    total: int

    @property
    def reserved(self) -> int:
        """The size of the reserve: 4 MiB, of a small disk a sixteenth."""
        return min(_MOST_RESERVED, self.total // 16)

    @property
    def is_full(self) -> bool:
        return self.free < self.reserved

    @property
    def is_short(self) -> bool:
        """Whether it is time to make room: a tenth is left, of a large disk 2 GiB."""
        return self.free < min(self.total // 10, _MOST_ALARMED)

    def sentence(self, folder: Path) -> str:
        left = f"{self.free / 1024**2:,.1f} MiB of {self.total / 1024**2:,.0f} MiB are free below {folder}"
        if self.is_full:
            return f"the disk of the tally is full: {left}; make room there, until then no report is stored"
        return f"the disk of the tally is nearly full: {left}; make room there"


def room_below(folder: Path) -> Room | None:
    try:
        found = os.statvfs(folder)
    except OSError:
        return None
    return Room(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


def keep_room(folder: Path) -> None:
    """Fill the reserve where it is missing or was used, once there is plenty of room again."""
    room = room_below(folder)
    if room is None or room.is_short or room.reserved < _PIECE:
        return
    with suppress(OSError), opened_for_owner(folder / RESERVE, os.O_RDWR) as descriptor:
        if os.fstat(descriptor).st_size < room.reserved:
            os.posix_fallocate(descriptor, 0, room.reserved)
            os.fsync(descriptor)


def give_way(folder: Path) -> bool:
    """Free a piece of the reserve; False where nothing of it is left."""
    try:
        descriptor = os.open(folder / RESERVE, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        size = os.fstat(descriptor).st_size
        if not size:
            return False
        os.ftruncate(descriptor, max(0, size - _PIECE))
        os.fsync(descriptor)  # some file systems free the blocks only then
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def land(folder: Path, write: Callable[[], None]) -> None:
    """Do a write that must succeed: on a full disk it uses the reserve. Raises OSError."""
    while True:
        try:
            write()
        except OSError as error:
            if not is_disk_full(error) or not give_way(folder):
                raise
        else:
            return
