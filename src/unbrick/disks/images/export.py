"""Shows a qcow2, VHDX or VMDK image as a raw file, through qemu-storage-daemon and FUSE.

The format of every file in it is given, never probed. The server runs in the foreground and is waited for,
because it flushes the image when it ends. To look, no file of the image is opened for writing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from unbrick.disks.fuse_mount import FuseMount, is_mounted
from unbrick.disks.images.image import Image
from unbrick.disks.images.overlay_store import create_store, store_node
from unbrick.disks.images.parts import refuse_unsafe
from unbrick.disks.in_use import hold_locks
from unbrick.disks.plain_name import plain_name
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.processes.command import Runner, Server, wait_until

_START_SECONDS = 60.0
_STOP_SECONDS = 120.0
_SECTOR = 512
_HOST_TROUBLE = re.compile(
    r"Cannot allocate memory|Too many open files|Input/output error|No space left|No such file|Stale file"
)
_NO_WRITING = re.compile(r"Permission denied|Operation not permitted|Read-only file system")


@contextmanager
def export_raw(image: Image, runner: Runner, workdir: Path, *, writable: bool) -> Iterator[Path]:
    """The image's disk as a raw file below `workdir`, while the context lasts.

    Unless `writable`, every file of the image stays as it is, byte for byte. Raises NeedsHandsError
    (damaged-image, disk-in-use, read-only, image-unsafe) or FailedError where QEMU cannot open it, and
    FailedError where it did not end cleanly after work was done.
    """
    with ExitStack() as stack:
        node = _named(image.node, workdir, stack)
        if not writable and image.has_log:
            node = _over_a_throw_away_store(node, image, workdir, stack)
        else:
            node = {**node, "read-only": not writable}
        descriptor, name = tempfile.mkstemp(prefix="disk-", suffix=".raw", dir=workdir)
        os.close(descriptor)
        mountpoint = Path(name)
        opened = json.dumps({**node, "node-name": "disk"})
        server = runner.start(_arguments(opened, mountpoint, writable=writable))
        try:
            _wait_for(server, image, mountpoint, opened)
            if mountpoint.stat().st_size != image.virtual_size:
                refuse_unsafe(image.path, "QEMU and unbrick read different sizes in its header")
            yield mountpoint
        finally:
            ended = _end(server, mountpoint)
        if ended != 0:
            lost = "; the last writes may be missing" if writable else ""
            raise FailedError(
                f"{image.path}: qemu-storage-daemon ended with code {ended}{lost}",
                hint="run unbrick again: it finishes what was begun" if writable else "run unbrick again",
                reason=Reason.PROGRAM_FAILED,
            )


def _named(node: dict[str, Any], workdir: Path, stack: ExitStack) -> dict[str, Any]:
    """The node with file names that QEMU accepts: in JSON, so UTF-8 only."""
    named = dict(node)
    for key, value in node.items():
        if isinstance(value, dict):
            named[key] = _named(value, workdir, stack)
        elif key == "filename":
            named[key] = str(stack.enter_context(plain_name(Path(value), workdir)))
    return named


def _over_a_throw_away_store(
    node: dict[str, Any], image: Image, workdir: Path, stack: ExitStack
) -> dict[str, Any]:
    """The image opened for writing on a copy of its writes in memory, where its log is replayed."""
    size = image.path.stat().st_size
    store = workdir / f"log-{secrets.token_hex(4)}.qcow2"
    create_store(store, -(-size // _SECTOR) * _SECTOR)
    stack.callback(store.unlink, missing_ok=True)
    stack.enter_context(hold_locks(image.files))  # QEMU takes no locks on files below a node
    return {**node, "file": store_node(store, node["file"]), "read-only": False}


def _wait_for(server: Server, image: Image, mountpoint: Path, opened: str) -> None:
    what = f"{image.path}: qemu-storage-daemon"
    try:
        wait_until(server, lambda: is_mounted(mountpoint), timeout=_START_SECONDS, what=what)
    except FailedError as error:
        if server.poll() is None:  # it took too long
            raise
        raise _refusal(server, image, opened) from error


def _refusal(server: Server, image: Image, opened: str) -> NeedsHandsError | FailedError:
    """Why QEMU does not open or show an image that passed the checks here."""
    said = server.read_error().decode(errors="replace")
    # Another program took the image, or the image below it, after the check.
    if re.search(r"Failed to get .{1,40} lock", said):
        return NeedsHandsError(
            f"{image.path} is in use: QEMU cannot lock it or an image below it",
            hint="shut the machine down, then try again",
            reason=Reason.DISK_IN_USE,
        )
    own = f"--blockdev {opened}: "
    if own not in said:
        last = (said.strip().splitlines() or ["it said nothing"])[-1].removeprefix("qemu-storage-daemon: ")
        return FailedError(
            f"{image.path} cannot be shown as a disk: {last[:200]}",
            hint="the kernel's FUSE (modprobe fuse) and the program qemu-storage-daemon must work here",
            reason=Reason.PROGRAM_FAILED,
        )
    words = (said.partition(own)[2].strip().splitlines() or [""])[0][:200]
    if _NO_WRITING.search(words):
        return write_protected(image.path)
    if _HOST_TROUBLE.search(words):
        return FailedError(
            f"{image.path} cannot be opened: {words}",
            hint="look at the file system it lies on, then try again",
            reason=Reason.UNREADABLE_DISK,
        )
    return NeedsHandsError(
        f"{image.path}: the image is damaged: {words}",
        hint="copy it again from its source, or try to mend a copy (qemu-img check)",
        reason=Reason.DAMAGED_IMAGE,
    )


def write_protected(path: Path) -> NeedsHandsError:
    return NeedsHandsError(
        f"{path} cannot be written: its file or the file system it lies on is read-only",
        hint="copy the image to where it can be written, or lift the protection (mount, chattr, chmod)",
        reason=Reason.READ_ONLY,
    )


def _arguments(opened: str, mountpoint: Path, *, writable: bool) -> list[str]:
    export = {
        "type": "fuse",
        "id": "export",
        "node-name": "disk",
        "mountpoint": str(mountpoint),
        "writable": writable,
        "growable": False,
        "allow-other": "off",
    }
    return ["qemu-storage-daemon", "--blockdev", opened, "--export", json.dumps(export)]


def _end(server: Server, mountpoint: Path) -> int | None:
    """Stop the server, and take down what a killed one leaves: a dead mount."""
    running = server.poll() is None
    FuseMount(mountpoint, server).drop(_STOP_SECONDS)
    with suppress(OSError):
        mountpoint.unlink()
    code = server.poll()
    return code if running or code else 1
