"""The outbox: a folder with one synced file an event, written before anything is sent.

A file leaves only when the tally has acknowledged its event, or refused it for ever (then it moves to
`refused/`). What is torn or does not belong here moves to `damaged/`. Nothing is deleted unacknowledged.
Several processes may put, read and acknowledge at once; each may be killed at any moment.
"""

from __future__ import annotations

import errno
import fcntl
import heapq
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

from unbrick.errors import FailedError, Reason
from unbrick.events.event import MOST_BYTES, Event, EventError
from unbrick.events.run_id import RUN_ID
from unbrick.events.wire import SignedEvent, WireError, signed_event
from unbrick.files import NoPlainFileError, TooLargeError, read_plain, sync_directory
from unbrick.text import printable

DEFAULT_FOLDER = Path("/var/lib/unbrick/outbox")
_NAME = re.compile(rf"({RUN_ID})-([0-9]{{6}})-([0-9a-f]{{16}})\.json")
_TEMPORARY = ".new-"
_DAMAGED = "damaged"
_REFUSED = "refused"
_MOST_FILE_BYTES = 2 * MOST_BYTES + 64 * 1024  # quotes and backslashes are escaped once more
_FULL = {errno.ENOSPC, errno.EDQUOT}

Tell = Callable[[str], None]


class OutboxError(FailedError):
    """The outbox cannot be written or read; the work on disks goes on without it."""


class OutboxFullError(OutboxError):
    """Its file system is full (reason disk-full)."""


def outbox_folder(station_path: Path) -> Path:
    """Where the reports of a station wait: beside its file where that folder can be written.

    Makes the folder there: only trying tells, to root every permission is given.
    """
    own = station_path.parent.resolve() / "outbox"
    with suppress(OSError):
        own.mkdir(mode=0o700, exist_ok=True)
    return own if own.is_dir() and os.access(own, os.W_OK | os.X_OK) else DEFAULT_FOLDER


class Outbox:
    """The events that wait in one folder. `tell` is given a sentence for whatever was set aside."""

    def __init__(self, folder: Path, tell: Tell = lambda _: None) -> None:
        """Use a folder, and make it where it is missing; raises OutboxError."""
        self.folder = folder
        self._tell = tell
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync_directory(folder.parent)
        except OSError as error:
            raise _failure(folder, error) from error

    def put(self, signed: SignedEvent) -> None:
        """Keep an event: durable when this returns, absent or whole whatever happens. Twice is once.

        Raises EventError where it is none, OutboxFullError and OutboxError where it cannot be kept.
        """
        name = _name_of(signed.event(), signed)
        content = (json.dumps(signed.to_document(), ensure_ascii=False) + "\n").encode()
        try:
            self._write(self.folder / name, content)
        except OSError as error:
            raise _failure(self.folder, error) from error

    def pending(self) -> Iterator[tuple[Path, SignedEvent]]:
        """What waits, in the order of runs and events; damaged and foreign files are set aside.

        Raises OutboxError where the folder cannot be read.
        """
        self._clear_abandoned()
        for name in self.names():
            path = self.folder / name
            signed = self._read(path)
            if signed is not None:
                yield path, signed

    def acknowledge(self, ids: Collection[str]) -> None:
        """Delete events that the tally keeps durably now; ids that are not here are ignored."""
        try:
            for path in self._paths_of(ids):
                path.unlink(missing_ok=True)
        except OSError as error:
            raise _failure(self.folder, error) from error
        self._sync()

    def set_aside(self, ids: Collection[str], reason: str) -> None:
        """Move events that the tally will never take to `refused/`, with its reason beside each.

        Raises OutboxError where one of them stays: it would be sent, and refused, again and again.
        """
        said = printable(reason, " ")[:500]
        try:
            for path in self._paths_of(ids):
                target = self._move_to(_REFUSED, path)
                if target is not None:
                    with suppress(OSError):
                        self._write(target.with_suffix(".reason.txt"), f"{said}\n".encode())
                    self._tell(f"the tally refused a report ({said}); it is kept as {target}")
        except OSError as error:
            raise _failure(self.folder / _REFUSED, error) from error
        finally:
            self._sync()

    def refused(self) -> Iterator[tuple[Path, SignedEvent, str]]:
        """What the tally refused and was set aside here, each with the tally's reason."""
        for name in sorted(self.refused_names()):
            path, reason = self.folder / _REFUSED / name, ""
            with suppress(OSError, ValueError):
                reason = read_plain(path.with_suffix(".reason.txt"), _MOST_FILE_BYTES).decode().strip()
            with suppress(WireError, EventError, OSError):
                yield path, _load(path), reason

    def refused_names(self) -> set[str]:
        """The names of their files, the same as while they waited."""
        with suppress(OSError):
            return {one.name for one in (self.folder / _REFUSED).iterdir() if _NAME.fullmatch(one.name)}
        return set()

    def was_set_aside(self, name: str) -> bool:
        """Whether the report in a file of that name no longer waits, yet no tally has taken it."""
        return any(os.path.lexists(self.folder / aside / name) for aside in (_REFUSED, _DAMAGED))

    def holds(self, name: str, signed: SignedEvent) -> bool:
        """Whether this report waits here, whole, in a file of that name."""
        with suppress(WireError, EventError, OSError):
            return _load(self.folder / name) == signed
        return False

    def export(self, path: Path) -> int:
        """Write what waits to a new file, one JSON line an event; how many. Nothing leaves the outbox.

        Raises OutboxError, also where the file exists: it may be the only copy of other reports.
        """
        count = 0
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as stream:
                    for _, signed in self.pending():
                        stream.write(json.dumps(signed.to_document(), ensure_ascii=False) + "\n")
                        count += 1
                    stream.flush()
                    os.fsync(stream.fileno())
            except BaseException:
                path.unlink(missing_ok=True)
                raise
            sync_directory(path.parent)
        except FileExistsError as error:
            raise OutboxError(f"{path} exists already", hint="name a new file") from error
        except OSError as error:
            raise _failure(path, error) from error
        return count

    def count(self) -> int:
        """How many events wait; reads no file. Raises OutboxError."""
        return len(self.names())

    def names(self) -> list[str]:
        """The names of the files of what waits, in its order. Raises OutboxError."""
        names = []
        for name in self._listing():
            if _NAME.fullmatch(name):
                names.append(name)
            elif not name.startswith(".") and not self._is_folder(name):
                self._set_damaged(self.folder / name, "it is no report")
        return sorted(names)

    def count_set_aside(self) -> tuple[int, int]:
        """How many files were set aside: refused by the tally, damaged."""

        def count(folder: str) -> int:
            with suppress(OSError):
                names = [entry.name for entry in (self.folder / folder).iterdir()]
                return sum(not name.endswith(".reason.txt") for name in names)
            return 0

        return count(_REFUSED), count(_DAMAGED)

    def _listing(self) -> list[str]:
        try:
            return [entry.name for entry in self.folder.iterdir()]
        except OSError as error:
            raise _failure(self.folder, error) from error

    def _is_folder(self, name: str) -> bool:
        try:
            return stat.S_ISDIR((self.folder / name).lstat().st_mode)
        except OSError:  # gone meanwhile
            return True

    def _paths_of(self, ids: Collection[str]) -> list[Path]:
        wanted = {one[:16] for one in ids}  # as many digits as there are in a file's name
        found = ((name, _NAME.fullmatch(name)) for name in self._listing())
        return [self.folder / name for name, match in found if match and match[3] in wanted]

    def _read(self, path: Path) -> SignedEvent | None:
        """The event in a file; None where the file is gone, or was set aside."""
        try:
            return _load(path)
        except FileNotFoundError:
            return None
        except (WireError, EventError) as error:
            self._set_damaged(path, error.message)
            return None
        except OSError as error:
            self._tell(f"{path}: cannot be read now: {error.strerror}")
            return None

    def _set_damaged(self, path: Path, why: str) -> None:
        try:
            target = self._move_to(_DAMAGED, path)
        except OSError as error:
            self._tell(f"{path}: cannot be set aside: {error.strerror}")
            return
        if target is not None:
            self._tell(f"{path.name} in the outbox is damaged ({why}); it is kept as {target}")
            self._sync()

    def _move_to(self, folder: str, path: Path) -> Path | None:
        """Move a file to a folder of the outbox under a free name; None where it is gone. Raises OSError."""
        aside = self.folder / folder
        aside.mkdir(mode=0o700, exist_ok=True)
        try:
            target = aside / path.name
            if os.path.lexists(target):
                target = aside / f"{path.stem}-{secrets.token_hex(4)}{path.suffix}"
            path.rename(target)
            sync_directory(aside)
        except FileNotFoundError:
            return None
        return target

    def _write(self, path: Path, content: bytes) -> None:
        """Temporary, synced, renamed, folder synced."""
        # The temporary has a name of its own, and its writer locks it: the number of a process says nothing
        # here, for each disk is worked on in a process namespace of its own.
        while True:
            temporary = path.parent / f"{_TEMPORARY}{secrets.token_hex(8)}"
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(descriptor, "wb") as stream:
                    with suppress(OSError):  # a file system without locks has no abandoned ones cleared
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    stream.write(content)
                    stream.flush()
                    os.fsync(descriptor)
                    temporary.rename(path)
            except FileNotFoundError:  # cleared in the instant before it was locked
                continue
            except BaseException:
                with suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
            sync_directory(path.parent)
            return

    def _clear_abandoned(self) -> None:
        """Remove what killed processes had begun to write: nobody was told that it was kept."""
        for name in self._listing():
            if name.startswith(_TEMPORARY):
                with suppress(OSError):
                    descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        (self.folder / name).unlink()
                    finally:
                        os.close(descriptor)

    def _sync(self) -> None:
        with suppress(OSError):  # what is not durable is sent again, and counted once
            sync_directory(self.folder)


def read_carried(folder: Path, most: int) -> Iterator[tuple[Path, SignedEvent]]:
    """The first reports, at most so many, in an outbox that somebody brought; raises OutboxError.

    Nothing is changed or set aside there: what else is in it may be anything, and any number of files.
    """
    try:
        names = heapq.nsmallest(most, (one.name for one in folder.iterdir() if _NAME.fullmatch(one.name)))
    except OSError as error:
        raise _failure(folder, error) from error
    for name in names:
        try:
            signed = _load(folder / name)
        except (WireError, EventError, OSError):
            continue
        yield folder / name, signed


def _load(path: Path) -> SignedEvent:
    """The event in a file; raises WireError, EventError, OSError."""
    try:
        signed = signed_event(json.loads(read_plain(path, _MOST_FILE_BYTES).decode("utf-8")))
    except (NoPlainFileError, TooLargeError) as error:
        raise WireError(error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:
        raise WireError("it is torn") from error
    if _name_of(signed.event(), signed) != path.name:
        raise WireError("its name belongs to another report")
    return signed


def _name_of(event: Event, signed: SignedEvent) -> str:
    return f"{event.run}-{event.sequence:06}-{signed.id[:16]}.json"


def _failure(path: Path, error: OSError) -> OutboxError:
    if error.errno in _FULL:
        return OutboxFullError(f"{path}: no space is left for reports", reason=Reason.DISK_FULL)
    reason = Reason.READ_ONLY if error.errno == errno.EROFS else None
    return OutboxError(f"{path}: {error.strerror or error}", reason=reason)
