"""A raw file behind which QEMU's block drivers stand: for disks that keep a log, or that fail."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def exported(devices: Sequence[Mapping[str, Any]], node: str, size: int, export: Path) -> Iterator[Path]:
    """Show the node of that name as the file `export`, of `size` bytes, while the context lasts."""
    export.write_bytes(b"")
    argv = ["qemu-storage-daemon"]
    for device in devices:
        argv += ["--blockdev", json.dumps(device)]
    argv += ["--export", f"type=fuse,id=e,node-name={node},mountpoint={export},writable=on"]
    daemon = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while export.stat().st_size != size:
            if daemon.poll() is not None or time.monotonic() > deadline:
                raise AssertionError("qemu-storage-daemon did not export the image")
            time.sleep(0.005)
        yield export
    finally:
        daemon.terminate()
        daemon.wait(timeout=30)
