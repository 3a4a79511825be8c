"""A writable view of a volume: writes go to memory, never to the volume."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.fuse_mount import FuseMount, is_mounted
from unbrick.disks.images.overlay_store import create_store, store_node, written_clusters
from unbrick.errors import FailedError, Reason
from unbrick.processes.command import Runner, wait_until

_START_SECONDS = 30.0
_END_SECONDS = 30.0


@dataclass(frozen=True)
class Overlay:
    """A file at `path` that shows a volume and takes writes, once `wait` has returned."""

    path: Path
    _store: Path
    _mounted: FuseMount

    def wait(self) -> None:
        server = self._mounted.server
        wait_until(server, lambda: is_mounted(self.path), timeout=_START_SECONDS, what="qemu-storage-daemon")

    def end(self) -> Iterator[tuple[int, bytes]]:
        """End it early: offset and bytes of all that was written, in pieces of 64 KiB, by offset.

        The last may reach beyond the volume. Raises FailedError where not everything could be kept, OSError.
        """
        # The server keeps quiet about a failure at its own end, so it is made to flush before.
        try:
            with self.path.open("r+b", buffering=0) as stream:
                os.fsync(stream)
        except OSError as error:
            raise FailedError(
                f"the change could not be kept in memory: {error.strerror}; nothing was written to the disk",
                hint="run it again, on a computer with more memory where this one has little",
                reason=Reason.PROGRAM_FAILED,
            ) from error
        self._mounted.drop(_END_SECONDS)
        if self._mounted.server.poll() != 0:
            raise FailedError(
                "qemu-storage-daemon ended with an error: nothing was written to the disk",
                hint="run it again",
                reason=Reason.PROGRAM_FAILED,
            )
        return written_clusters(self._store)


@contextmanager
def open_overlay(plain: Path, length: int, runner: Runner, workdir: Path) -> Iterator[Overlay]:
    """A file of `length` bytes that shows `plain` and takes writes, which are dropped with the context."""
    with begin_overlay(plain, length, runner, workdir) as overlay:
        overlay.wait()
        yield overlay


@contextmanager
def begin_overlay(plain: Path, length: int, runner: Runner, workdir: Path) -> Iterator[Overlay]:
    """Like `open_overlay`, but only begun: until `wait` is called, other work can be done, on `plain` too.

    Writes are kept in a qcow2 file in `workdir` (in memory). Raises FailedError.
    """
    name = f"overlay-{secrets.token_hex(4)}"  # one may be on top of another
    store = workdir / f"{name}.qcow2"
    shown = workdir / f"{name}.raw"
    create_store(store, length)
    shown.touch()
    driver = "host_device" if plain.is_block_device() else "file"
    node = store_node(store, {"driver": driver, "filename": str(plain)})
    opened = json.dumps({**node, "node-name": "overlay"})
    export = f"fuse,id=export,node-name=overlay,mountpoint={shown},writable=on,allow-other=off"
    argv = ["qemu-storage-daemon", "--blockdev", opened, "--export", export]
    server = runner.start(argv)
    mounted = FuseMount(shown, server)
    try:
        yield Overlay(shown, store, mounted)
    finally:
        mounted.drop(_END_SECONDS)
        store.unlink(missing_ok=True)
        shown.unlink(missing_ok=True)
