"""Records what is written to a disk, in order and with its flushes, and replays any part of it.

QEMU's `blklogwrites` driver writes the log of Linux' dm-log-writes (a page of the kernel's admin guide):
a superblock (magic, version, number of entries, sector size), then per entry a sector of its own (sector,
sectors, flags, length) and its data.
"""

from __future__ import annotations

import contextlib
import struct
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.disk_export import exported

_MAGIC = 0x6A736677736872
_FLUSH = 1


@dataclass(frozen=True)
class Write:
    """One write, or (`flush`) the point up to which all writes before are durable."""

    offset: int
    data: bytes
    flush: bool


@contextlib.contextmanager
def logged(image: Path, log: Path, export: Path) -> Iterator[Path]:
    """A raw file that writes through to `image` and keeps the log."""
    log.write_bytes(b"")
    devices: list[dict[str, Any]] = [
        {"driver": "file", "node-name": "image", "filename": str(image)},
        {"driver": "file", "node-name": "log", "filename": str(log)},
        {
            "driver": "blklogwrites",
            "node-name": "both",
            "file": "image",
            "log": "log",
            "log-sector-size": 512,
        },
    ]
    with exported(devices, "both", image.stat().st_size, export) as disk:
        yield disk


def read_log(log: Path) -> tuple[Write, ...]:
    """The entries of a log, in order."""
    with log.open("rb") as stream:
        magic, version, count, sector_size = struct.unpack("<QQQI", stream.read(28))
        assert (magic, version) == (_MAGIC, 1)
        writes = []
        stream.seek(sector_size)
        for _ in range(count):
            sector, sectors, flags, _ = struct.unpack("<4Q", stream.read(sector_size)[:32])
            # A write that is durable by itself, or a discard, would mean something else for all others.
            assert flags in (0, _FLUSH), f"an entry with the flags {flags:#x}"
            data = stream.read(sectors * sector_size)
            assert len(data) == sectors * sector_size
            writes.append(Write(sector * sector_size, data, bool(flags & _FLUSH)))
        return tuple(writes)


def replay(base: Path, target: Path, writes: Iterable[Write]) -> None:
    """The disk as it was before, with some of the writes done."""
    target.unlink(missing_ok=True)
    subprocess.run(["cp", "--sparse=always", "--reflink=auto", base, target], check=True)
    with target.open("r+b") as stream:
        for write in writes:
            stream.seek(write.offset)
            stream.write(write.data)
