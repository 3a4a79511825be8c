"""A disk that refuses writes or a flush, through QEMU's `blkdebug` driver."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from support.disk_export import exported

_EIO = 5
_EVENTS = {"write": "write_aio", "flush": "flush_to_disk"}


@contextlib.contextmanager
def failing(image: Path, export: Path, refused: str, flush: int = 1, *, once: bool = True) -> Iterator[Path]:
    """A raw file that writes through to `image`, and refuses, with EIO.

    `refused`: "flush", the flush of that number (1 is the first); or "write", what is written between it and
    the flush before: the first only, or (not `once`) all.
    """
    states: list[dict[str, Any]] = [
        {"event": "flush_to_disk", "state": number, "new_state": number + 1} for number in range(1, flush)
    ]
    error = {"event": _EVENTS[refused], "state": flush, "iotype": refused, "errno": _EIO, "once": once}
    rules = {"inject-error": [error], **({"set-state": states} if states else {})}  # QEMU takes no empty list
    devices: list[dict[str, Any]] = [
        {"driver": "file", "node-name": "image", "filename": str(image)},
        {"driver": "blkdebug", "node-name": "bad", "image": "image", **rules},
        {"driver": "raw", "node-name": "disk", "file": "bad"},
    ]
    with exported(devices, "disk", image.stat().st_size, export) as disk:
        yield disk
