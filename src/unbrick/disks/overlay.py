"""A writable view of a volume: what is written goes to memory, never to the volume."""

from __future__ import annotations

import json
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbrick.command import Runner, wait_until
from unbrick.disks.fuse_mount import FuseMount, is_mounted

_START_SECONDS = 30.0
_END_SECONDS = 30.0


@contextmanager
def open_overlay(plain: Path, length: int, runner: Runner, workdir: Path) -> Iterator[Path]:
    """A file of `length` bytes that shows `plain` and takes writes, which are forgotten with the context.

    They are kept in a qcow2 file in `workdir` (in memory). Formats and files are named, never probed: the
    volume's bytes are hostile and may look like an image that points elsewhere. Raises FailedError.
    """
    name = f"overlay-{secrets.token_hex(4)}"  # one may lie over another
    store = workdir / f"{name}.qcow2"
    shown = workdir / f"{name}.raw"
    runner.run(["qemu-img", "create", "-q", "-f", "qcow2", str(store), str(length)], timeout=_START_SECONDS)
    shown.touch()
    driver = "host_device" if stat.S_ISBLK(plain.stat().st_mode) else "file"
    backing = {"driver": driver, "filename": str(plain), "read-only": True, "locking": "off"}
    nodes = {
        "driver": "qcow2",
        "node-name": "overlay",
        "file": {"driver": "file", "filename": str(store)},
        "backing": {"driver": "raw", "read-only": True, "file": backing},
    }
    export = f"fuse,id=export,node-name=overlay,mountpoint={shown},writable=on,allow-other=off"
    argv = ["qemu-storage-daemon", "--blockdev", json.dumps(nodes), "--export", export]
    server = runner.start(argv)
    mounted = FuseMount(shown, server)
    try:
        wait_until(server, lambda: is_mounted(shown), timeout=_START_SECONDS, what="qemu-storage-daemon")
        yield shown
    finally:
        mounted.drop(_END_SECONDS)
        store.unlink(missing_ok=True)
        shown.unlink(missing_ok=True)
