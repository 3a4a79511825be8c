"""A mounted FUSE file system together with its server: unmounting has ended when both have.

`umount` alone can return before the server has flushed its data.
"""

from __future__ import annotations

import contextlib
import errno
import time
from dataclasses import dataclass
from pathlib import Path

from unbrick.processes import libc
from unbrick.processes.command import CommandTimeoutError, Server

_BUSY_SECONDS = 2.0
_STUCK_SECONDS = 2.0


@dataclass(frozen=True)
class FuseMount:
    """A mount point (a folder or a file) and the server that was started on it."""

    path: Path
    server: Server

    def end(self, timeout: float) -> int:
        """Unmount and wait, in seconds, for the server's own end; returns its exit code.

        Also right where the server has died or never came up. Raises CommandTimeoutError.
        """
        # A Ctrl-C at a bad moment leaves a holder of the mount that ends with this program: it is waited for
        # shortly, then the mount is taken from it and its server not waited for any longer.
        deadline = time.monotonic() + _BUSY_SECONDS
        code = _unmount(self.path)
        while code == errno.EBUSY and time.monotonic() < deadline:
            time.sleep(0.01)
            code = _unmount(self.path)
        busy = code == errno.EBUSY
        if busy:
            code = _unmount(self.path, detach=True)
        if code != 0:  # not mounted: nothing will tell the server to end
            self.server.stop(timeout)
        try:
            return self.server.wait(min(timeout, _STUCK_SECONDS) if busy else timeout)
        except CommandTimeoutError:
            self.server.stop(1.0)
            raise

    def drop(self, timeout: float) -> None:
        """End the server first, then the mount: for a server that would outlive its mount."""
        self.server.stop(timeout)
        _unmount(self.path, detach=True)


def _unmount(path: Path, *, detach: bool = False) -> int:
    """0 or an errno."""
    # A system call, because starting `umount` costs more than the rest of a repair.
    try:
        libc.unmount(path, detach=detach)
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def is_mounted(path: Path) -> bool:
    """Whether something is mounted at `path` itself."""
    with contextlib.suppress(OSError):
        return path.stat().st_dev != path.parent.stat().st_dev
    return False
