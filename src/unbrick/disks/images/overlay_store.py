"""The qcow2 file that an overlay keeps its writes in: made empty, and read back when its server has ended.

Only QEMU writes to it. The layout is that of QEMU's `docs/interop/qcow2.txt`, version 3.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unbrick.errors import FailedError, Reason

CLUSTER = 65536
"""Bytes; QEMU's own default."""
_ENTRIES = CLUSTER // 8
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
_PLACE = 0x00FF_FFFF_FFFF_FE00  # of a cluster within an entry of a table
_COMPRESSED = 1 << 62
_ZERO = 1


def create_store(path: Path, length: int) -> None:
    """Make a store for a disk of `length` bytes in which nothing is written yet; raises OSError."""
    size = -(-length // CLUSTER) * CLUSTER
    tables = -(-size // (CLUSTER * _ENTRIES))
    clusters = 3 + -(-tables // _ENTRIES)  # header, table of counts, counts, level 1
    header = _HEADER.pack(
        *(b"QFI\xfb", 3, 0, 0, 16, length, 0, tables, 3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104)
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.pwrite(descriptor, header, 0)
        os.pwrite(descriptor, struct.pack(">Q", 2 * CLUSTER), CLUSTER)
        os.pwrite(descriptor, struct.pack(">H", 1) * clusters, 2 * CLUSTER)
        os.ftruncate(descriptor, clusters * CLUSTER)
    finally:
        os.close(descriptor)


def store_node(store: Path, below: dict[str, Any]) -> dict[str, Any]:
    """QEMU's node for a disk that shows the file node `below` and keeps its writes in a store.

    Formats and files are named, never probed: the bytes below are hostile, and may look like an image that
    has its data elsewhere.
    """
    below = {**below, "read-only": True, "locking": "off"}
    return {
        "driver": "qcow2",
        "file": {"driver": "file", "filename": str(store)},
        "backing": {"driver": "raw", "read-only": True, "file": below},
    }


def written_clusters(path: Path) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each cluster that was written, in the order of offsets; raises OSError.

    Bytes beyond the disk's end mean nothing.
    """
    with path.open("rb", buffering=0) as stream:
        descriptor = stream.fileno()
        fields = _HEADER.unpack(os.pread(descriptor, _HEADER.size, 0))
        tables, first = fields[7], fields[8]
        for index, table in enumerate(struct.unpack(f">{tables}Q", os.pread(descriptor, tables * 8, first))):
            if table & _PLACE:
                yield from _clusters_of(descriptor, table & _PLACE, index * _ENTRIES * CLUSTER)


def _clusters_of(descriptor: int, table: int, start: int) -> Iterator[tuple[int, bytes]]:
    for index, entry in enumerate(struct.unpack(f">{_ENTRIES}Q", os.pread(descriptor, CLUSTER, table))):
        if entry & _COMPRESSED:
            raise FailedError(
                "the overlay holds a compressed cluster, which unbrick never writes",
                reason=Reason.PROGRAM_FAILED,
            )
        if entry & _ZERO:
            yield start + index * CLUSTER, bytes(CLUSTER)
        elif entry & _PLACE:
            yield start + index * CLUSTER, os.pread(descriptor, CLUSTER, entry & _PLACE)
