"""A disk that is open for work: its raw bytes, its volumes, what forbids writing. `discover.py` opens one."""

from __future__ import annotations

import fcntl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import NeedsHandsError
from unbrick.model import Volume

_BLKROGET = 0x125E  # linux/fs.h


@dataclass(frozen=True)
class Disk:
    """A disk that is open for work; sizes and offsets are bytes.

    `path` is what was asked for, `raw` the same disk as raw bytes (the device, the raw image, or the export
    of another format). `guid` is the GPT's disk GUID, or an MBR's signature as 8 hex digits, upper case.
    `refusal` is a reason word where nothing on this disk may ever be written, `refusal_text` its sentence.
    `notes` are sentences for a person (a table read from its backup). `writable` says how it is open now,
    `protected` why it cannot be written at all. `images` are the files of an image; `growing` those of them
    that a write may make larger.
    """

    path: Path
    raw: Path
    size: int
    sector_size: int
    guid: str | None
    volumes: tuple[Volume, ...]
    refusal: str | None = None
    refusal_text: str | None = None
    notes: tuple[str, ...] = ()
    _sync: Callable[[], None] = lambda: None
    writable: bool = True
    protected: NeedsHandsError | None = None
    images: tuple[Path, ...] = ()
    growing: tuple[Path, ...] = ()
    _reopen: Callable[[], Disk] | None = None

    def sync(self) -> None:
        """Flush what was written to `raw` all the way down to the disk; raises FailedError."""
        self._sync()

    def open_for_writing(self) -> Disk:
        """The same disk, open for writing; everything opened from this one must be closed before.

        Raises what `open_disk` does, and NeedsHandsError: read-only; disk-in-use where it has changed.
        """
        if self.writable:
            return self
        if self.protected is not None:
            raise self.protected
        assert self._reopen is not None
        return self._reopen()


def refuses_writes(descriptor: int) -> bool:
    """Whether a block device is read-only (a switch, a blocker); it can be opened for writing even then."""
    (read_only,) = struct.unpack("<i", fcntl.ioctl(descriptor, _BLKROGET, bytes(4)))
    return bool(read_only)
