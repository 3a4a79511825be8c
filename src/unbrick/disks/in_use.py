"""Whether another program uses a disk or image, and locks that keep others away while unbrick works on it.

A running virtual machine writes to its image without a lock that every system would honour, so several traces
are checked: QEMU's own locks, VMware's lock files, open files, loop devices, mounts, holders. Where possible
the kernel is asked: it also knows of programs that /proc does not show, in another container.
"""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from unbrick.disks.loop_device import is_backed_by
from unbrick.errors import NeedsHandsError, Reason

# QEMU's block/file-posix.c: for each permission that is held a read lock on one byte from 100 on, for each
# that is denied to others one from 200 on. Permissions (block.h): bit 0 read, 1 write, 3 resize.
_HELD_BASE, _DENIED_BASE, _RANGE = 100, 200, 64
_HELD, _DENIED = (0, 1, 3), (1, 3)
_ALL_PLACES = ((_HELD_BASE, _RANGE), (_DENIED_BASE, _RANGE))
_WRITE_PLACES = ((_HELD_BASE + 1, 1), (_HELD_BASE + 3, 1))
FLOCK = struct.Struct("hhqqi4x")
"""`struct flock` of fcntl.h, with files of 64 bits."""
_CLAIM_SECONDS = 1.0
_OPEN_FOR_WRITING = os.O_WRONLY | os.O_RDWR
_BUSY_SECONDS = 1.0
# Where a lease is refused although no program writes: the server decides, or the client refuses by itself.
_REMOTE = ("nfs", "cifs", "smb", "fuse", "ceph", "9p", "afs", "glusterfs", "lustre", "ocfs2", "gfs2")
_F_SETSIG = 10  # fcntl.h


def refuse_image_in_use(files: Iterable[Path]) -> None:
    """Raise NeedsHandsError (disk-in-use) where any of an image's files is open somewhere else."""
    for path in files:
        user = _locked(path) or _vmware_lock(path) or _loop_over(path) or _writer_of(path)
        if user:
            raise _in_use(path, user)


def refuse_base_in_use(files: Iterable[Path]) -> None:
    """Raise NeedsHandsError (disk-in-use) where a file below an image is written; many may read it."""
    for path in files:
        user = _locked(path, places=_WRITE_PLACES) or _writer_of(path)
        if user:
            raise _in_use(path, user)


def refuse_device_in_use(device: Path) -> None:
    """Raise NeedsHandsError (disk-in-use) where a block device or one of its partitions is in use."""
    user = _user_of_device(device)
    if user is None:
        try:
            # The kernel grants this to one holder at a time: a mount, a mapping, swap, another repair.
            os.close(os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC))
        except OSError as error:
            user = f"the system says: {error.strerror}"
    if user is None:
        user = _locked(device) or _lasting_writer_of(device)
    if user:
        raise _in_use(device, user)
    refuse_attached(device)


def refuse_attached(device: Path) -> None:
    """Raise NeedsHandsError (disk-in-use) where a block device or a partition of it is below a loop device.

    The kernel counts that as no use, even where a file system on it is mounted.
    """
    for node in _nodes(device):
        with suppress(OSError):
            if user := _loop_over(node):
                raise _in_use(device, user)


@contextmanager
def claim(path: Path) -> Iterator[None]:
    """Keep every other unbrick away from a disk or image while the context lasts.

    Raises NeedsHandsError (disk-in-use); a disk that cannot be opened is reported elsewhere.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield
        return
    try:
        # Two that looked at the same moment would both find it free, and mount it twice. `flock` is the lock
        # that neither QEMU nor ntfs-3g takes; udev holds it on a device for a moment, hence the short wait.
        deadline = time.monotonic() + _CLAIM_SECONDS
        while not _flock(descriptor):
            if time.monotonic() > deadline:
                raise _in_use(path, "another unbrick is working on it")
            time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass  # a file system without locks must not stop the work
    return True


@contextmanager
def hold_locks(files: Iterable[Path]) -> Iterator[None]:
    """Hold QEMU's locks on an image's files, so that no virtual machine starts on them meanwhile."""
    places = [_HELD_BASE + bit for bit in _HELD] + [_DENIED_BASE + bit for bit in _DENIED]
    with ExitStack() as stack:
        for path in files:
            stream = stack.enter_context(path.open("rb", buffering=0))
            for place in places:
                # A file system without locks must not stop the work: QEMU goes on without them too.
                with suppress(OSError):
                    lock = FLOCK.pack(fcntl.F_RDLCK, os.SEEK_SET, place, 1, 0)
                    fcntl.fcntl(stream, fcntl.F_OFD_SETLK, lock)
        yield


def volume_in_use() -> NeedsHandsError:
    return NeedsHandsError(
        "the volume is in use by another program",
        hint="unmount it, or shut the virtual machine down, then try again",
        reason=Reason.DISK_IN_USE,
    )


def _in_use(path: Path, user: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{path} is in use: {user}",
        hint="shut the machine down or take the disk out of use, then try again",
        reason=Reason.DISK_IN_USE,
    )


def _locked(path: Path, places: tuple[tuple[int, int], ...] = _ALL_PLACES) -> str | None:
    """QEMU's locks, for any format; other programs' locks on those bytes count as well."""
    with path.open("rb", buffering=0) as stream:
        for first, count in places:
            question = FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, first, count, 0)
            with suppress(OSError):
                answer = fcntl.fcntl(stream, fcntl.F_OFD_GETLK, question)
                if FLOCK.unpack(answer)[0] != fcntl.F_UNLCK:
                    return "a virtual machine or another program has locked it"
    return None


def _vmware_lock(path: Path) -> str | None:
    lock = path.with_name(path.name + ".lck")
    if os.path.lexists(lock):
        return f"VMware's lock {lock.name} lies beside it (delete it if no machine is running)"
    return None


def _loop_over(path: Path) -> str | None:
    wanted = path.stat()
    for entry in Path("/sys/block").glob("loop*/loop/backing_file"):
        name = entry.parent.parent.name
        with suppress(OSError):
            # By file, not only by path: whoever attached it may see other paths (a container).
            if is_backed_by(Path("/dev") / name, wanted):
                return f"it is attached as /dev/{name}"
        with suppress(OSError):
            behind = Path(os.fsdecode(entry.read_bytes().rstrip(b"\n")))
            if os.path.samestat(behind.stat(), wanted):
                return f"it is attached as /dev/{name}"
    return None


def _writer_of(path: Path) -> str | None:
    # The kernel counts the writers; /proc has their names.
    written = _is_open_for_writing(path)
    if written is False:
        return None
    named = _named_writer_of(path)
    if named is None and written:
        return "a program that cannot be seen from here (in another container?) has it open for writing"
    return named


def _is_open_for_writing(path: Path) -> bool | None:
    """Whether any program has a regular file open or mapped for writing; None where that is not known.

    The kernel grants a read lease only where none has (fcntl(2), F_SETLEASE).
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # A program that opens the file while the lease is held waits, and this one gets a signal: one that is
        # ignored by default.
        fcntl.fcntl(descriptor, _F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except BlockingIOError:
        return None if _lies_remote(path) else True
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return False


def _lies_remote(path: Path) -> bool:
    device = path.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [number]:
            return after.startswith(_REMOTE)
    return False


def _lasting_writer_of(device: Path) -> str | None:
    """Who keeps a block device, or a partition of it, open for writing for longer than udev's moment."""
    deadline = time.monotonic() + _BUSY_SECONDS
    nodes = _nodes(device)
    while True:
        users = [user for node in nodes if node.exists() and (user := _named_writer_of(node))]
        if not users or time.monotonic() > deadline:
            return users[0] if users else None
        time.sleep(0.1)


def _named_writer_of(path: Path) -> str | None:
    wanted = path.stat()
    own = Path("/proc/self").readlink().name  # not `getpid`: /proc may be that of an outer namespace
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or process.name == own:
            continue
        with suppress(OSError):
            for entry in (process / "fd").iterdir():
                if _is_writer(process, entry, wanted):
                    name = (process / "comm").read_text(errors="replace").strip()
                    return f"the program {name} (process {process.name}) has it open for writing"
    return None


def _is_writer(process: Path, entry: Path, wanted: os.stat_result) -> bool:
    with suppress(OSError, ValueError):
        lines = (process / "fdinfo" / entry.name).read_text().splitlines()
        facts = dict(line.split(":", 1) for line in lines if line.startswith(("flags:", "ino:")))
        if not int(facts.get("flags", "0"), 8) & _OPEN_FOR_WRITING:
            return False
        if stat.S_ISBLK(wanted.st_mode):
            # A device may have several nodes. By name first: stat() of a file can wait for its server.
            opened = entry.stat() if str(entry.readlink()).startswith("/dev/") else None
            return opened is not None and stat.S_ISBLK(opened.st_mode) and opened.st_rdev == wanted.st_rdev
        # By number first, for the same reason (Linux 5.14 and later show it).
        if int(facts.get("ino", wanted.st_ino)) != wanted.st_ino:
            return False
        return os.path.samestat(entry.stat(), wanted)
    return False


def _user_of_device(device: Path) -> str | None:
    """A mount, swap or a kernel holder (RAID, LVM, mapping) of a device or of one of its partitions."""
    numbers = {}
    for part in _parts(device):
        with suppress(OSError):
            numbers[(part / "dev").read_text().strip()] = part.name
            holders = sorted(entry.name for entry in (part / "holders").iterdir())
            if holders:
                return f"{part.name} is part of {holders[0]}"
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        fields = line.split()
        if len(fields) > 4 and fields[2] in numbers:
            return f"{numbers[fields[2]]} is mounted at {fields[4]}"
    with suppress(OSError):
        for line in Path("/proc/swaps").read_text(errors="replace").splitlines()[1:]:
            if Path(line.split()[0]).name in numbers.values():
                return f"{line.split()[0]} is used as swap"
    return None


def _parts(device: Path) -> list[Path]:
    """A block device's folder in sysfs, and those of its partitions."""
    number = device.stat().st_rdev
    own = Path(f"/sys/dev/block/{os.major(number)}:{os.minor(number)}").resolve()
    return [own, *(entry.parent for entry in own.glob("*/partition"))]


def _nodes(device: Path) -> list[Path]:
    return [device, *(Path("/dev") / part.name for part in _parts(device)[1:])]
