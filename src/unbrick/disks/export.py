"""Shows a qcow2, VHDX or VMDK image as a raw file, through qemu-storage-daemon and FUSE.

The format of every file in it is given, never probed. The server runs in the foreground and is waited for,
because it flushes the image when it ends.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from unbrick.command import Runner, Server, wait_until
from unbrick.disks.fuse_mount import FuseMount, is_mounted
from unbrick.disks.image import Image
from unbrick.disks.image_parts import refuse_unsafe
from unbrick.errors import FailedError, NeedsHandsError, Reason

_START_SECONDS = 60.0
_STOP_SECONDS = 120.0


@contextmanager
def export_raw(image: Image, runner: Runner, workdir: Path) -> Iterator[Path]:
    """The image's disk as a writable raw file below `workdir`, while the context lasts.

    Raises FailedError where QEMU cannot open it, or where it did not end cleanly after work was done.
    """
    descriptor, name = tempfile.mkstemp(prefix="disk-", suffix=".raw", dir=workdir)
    os.close(descriptor)
    mountpoint = Path(name)
    server = runner.start(_arguments(image, mountpoint))
    try:
        _wait_for(server, image, mountpoint)
        if mountpoint.stat().st_size != image.virtual_size:
            refuse_unsafe(image.path, "QEMU and unbrick read different sizes in its header")
        yield mountpoint
    finally:
        ended = _end(server, mountpoint)
    if ended != 0:
        raise FailedError(
            f"{image.path}: qemu-storage-daemon ended with code {ended}; the last writes may be missing",
            hint="run unbrick again: it finishes what was begun",
        )


def _wait_for(server: Server, image: Image, mountpoint: Path) -> None:
    what = f"{image.path}: qemu-storage-daemon"
    try:
        wait_until(server, lambda: is_mounted(mountpoint), timeout=_START_SECONDS, what=what)
    except FailedError as error:
        # Somebody took the image, or the image below it, after we looked.
        if re.search(r"Failed to get .{1,40} lock", error.message):
            raise NeedsHandsError(
                f"{image.path} is in use: QEMU cannot lock it or an image below it",
                hint="shut the machine down, then try again",
                reason=Reason.DISK_IN_USE,
            ) from error
        raise


def _arguments(image: Image, mountpoint: Path) -> list[str]:
    node = {**image.node, "node-name": "disk", "read-only": False}
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "disk",
        "mountpoint": str(mountpoint),
        "writable": True,
        "growable": False,
        "allow-other": "off",
    }
    return ["qemu-storage-daemon", "--blockdev", json.dumps(node), "--export", json.dumps(export)]


def _end(server: Server, mountpoint: Path) -> int | None:
    """Stop the server, and take down what a killed one leaves: a dead mount."""
    running = server.poll() is None
    FuseMount(mountpoint, server).drop(_STOP_SECONDS)
    with suppress(OSError):
        mountpoint.unlink()
    code = server.poll()
    return code if running or code else 1
