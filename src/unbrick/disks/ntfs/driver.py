"""Mounts an NTFS volume with ntfs-3g, in the foreground, and trusts only the mount itself."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from unbrick.disks.fuse_mount import FuseMount, is_mounted
from unbrick.disks.in_use import volume_in_use
from unbrick.disks.ntfs.structures import damaged
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.processes.command import Runner, Server, wait_until

_START_SECONDS = 120.0
_END_SECONDS = 300.0
# `norecover`: the driver must not throw an unclean log away by itself. `noatime`: reading leaves no trace.
_OPTIONS = "no_detach,streams_interface=xattr,noatime,norecover,big_writes,nodev,nosuid,noexec"
_TRY_AGAIN = "run it again; if it fails again, the disk may be failing: copy it first"
# Its messages about a write that failed (its `attrib.c`, `mft.c`, `bitmap.c`); its exit code is 0 even so.
_UNWRITTEN = ("written=-1", "Error writing $M", "Leaving inconsistent metadata", "Failed to close volume")
# Exit codes of ntfs-3g (its manual page).
_NOT_NTFS, _CORRUPT, _IN_USE, _UNKNOWN_REASON = 12, 13, 16, 18


@contextmanager
def mount_ntfs(device: Path, root: Path, runner: Runner, *, read_only: bool) -> Iterator[Path]:
    """The volume's root folder, mounted at `root` (made if missing) while the context lasts.

    Leaving the context has flushed the driver's own caches to `device`, not those below it, or raises
    FailedError, also where the driver reported no error about a write that was refused. Raises
    NeedsHandsError (damaged-volume, disk-in-use; read-only where a writable mount became a read-only one).
    """
    root.mkdir(mode=0o700, exist_ok=True)
    argv = ["ntfs-3g", "-o", f"{'ro' if read_only else 'rw'},{_OPTIONS}", str(device), str(root)]
    server = runner.start(argv)
    mounted = FuseMount(root, server)
    try:
        try:
            wait_until(server, lambda: is_mounted(root), timeout=_START_SECONDS, what="ntfs-3g")
        except FailedError as error:
            raise _explained(server, error) from error
        if not read_only and os.statvfs(root).f_flag & os.ST_RDONLY:
            raise NeedsHandsError(
                "the NTFS driver would mount this volume read-only",
                hint="start Windows once and shut it down fully, then try again",
                reason=Reason.READ_ONLY,
            )
        yield root
    except BaseException:
        mounted.end(_END_SECONDS)
        raise
    code = mounted.end(_END_SECONDS)
    said = server.read_error().decode(errors="replace").strip().splitlines()
    if code != 0:
        raise FailedError(
            "the NTFS driver ended with an error" + (f": {said[-1][:300]}" if said else ""),
            hint=_TRY_AGAIN,
            reason=Reason.PROGRAM_FAILED,
        )
    unwritten = [line for line in said if any(mark in line for mark in _UNWRITTEN)]
    if unwritten and not read_only:
        raise FailedError(
            f"the NTFS driver could not write all it had to: {unwritten[0][:300]}",
            hint=_TRY_AGAIN,
            reason=Reason.PROGRAM_FAILED,
        )


def _explained(server: Server, error: FailedError) -> FailedError | NeedsHandsError:
    code = server.poll()
    said = server.read_error().decode(errors="replace").strip().splitlines()
    # A lock that another holds, or a device that the kernel holds, has no exit code of its own.
    busy = (os.strerror(errno.EAGAIN), os.strerror(errno.EBUSY))
    in_use = code == _IN_USE or any(word in line for word in busy for line in said)
    if code in (_NOT_NTFS, _CORRUPT, _UNKNOWN_REASON) and not in_use:
        return damaged(f"the NTFS driver refuses it ({said[0][:200] if said else code})")
    if in_use:
        return volume_in_use()
    return error
