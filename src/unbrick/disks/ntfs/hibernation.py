"""Whether a Windows is hibernated on this volume: looks at `hiberfil.sys`, and can make it unusable.

While a Windows sleeps, its memory overrules the disk: a change made now would be overwritten in part when it
wakes, and the volume torn.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unbrick.disks.ntfs.file_table import find_data
from unbrick.disks.ntfs.structures import ByteView, Geometry
from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.files import PathError, find_inside

_HEADER = 4096
# A Windows that did wake up leaves `RSTR`, `wake` or zeros; ntfs-3g judges the same way.
_ALIVE = (b"hibr", b"HIBR")
_DUMPS_LIMIT = 1000


@dataclass(frozen=True)
class Hibernation:
    """A living hibernation file: its MFT record, and whether Windows has crashed since it went to sleep."""

    record: int
    crashed_since: bool

    @property
    def note(self) -> str | None:
        if not self.crashed_since:
            return None
        return "a crash dump is newer than the hibernation file: Windows has crashed since it went to sleep"


def find_hibernation(root: Path) -> Hibernation | None:
    """The living hibernation on a mounted volume; raises FailedError where it cannot be read.

    A file too short to have a header counts as alive, because ntfs-3g refuses to write beside it.
    """
    try:
        file = _regular_file(root, "\\hiberfil.sys")
        if file is None:
            return None
        with file.open("rb") as stream:
            header = stream.read(_HEADER)
        if len(header) == _HEADER and header[:4] not in _ALIVE:
            return None
        facts = file.stat()
    except OSError as error:
        raise FailedError(
            f"\\hiberfil.sys cannot be read: {error.strerror}", reason=Reason.UNREADABLE_FILE
        ) from error
    return Hibernation(record=facts.st_ino, crashed_since=_has_crashed_since(root, facts.st_mtime))


def _regular_file(root: Path, windows_path: str) -> Path | None:
    try:
        file = find_inside(root, windows_path)
    except PathError:
        return None
    return file if file is not None and stat.S_ISREG(file.lstat().st_mode) else None


def _has_crashed_since(root: Path, moment: float) -> bool:
    """Whether there is a newer crash dump. Only a note depends on it: an unreadable dump counts as none."""
    try:
        return any(dump.stat().st_mtime > moment for dump in _crash_dumps(root))
    except OSError:
        return False


def _crash_dumps(root: Path) -> Iterator[Path]:
    full = _regular_file(root, "\\Windows\\MEMORY.DMP")
    if full is not None:
        yield full
    try:
        folder = find_inside(root, "\\Windows\\Minidump")
    except PathError:
        return
    if folder is not None and folder.is_dir():
        for index, dump in enumerate(folder.iterdir()):
            if index >= _DUMPS_LIMIT:
                return
            if dump.name.casefold().endswith(".dmp") and not dump.is_symlink():
                yield dump


def discard_hibernation(view: ByteView, geometry: Geometry, hibernation: Hibernation) -> None:
    """Blank the header of the hibernation file, so that Windows starts afresh; does not flush.

    Raises NeedsHandsError (hibernated) where the file's first bytes are not simply in clusters of their own.
    """
    # Not deleted: a volume in this state mostly has a log that must be replayed before it can be mounted for
    # writing, and replayed under a hibernation still alive it would be torn.
    place, length = find_header(view, geometry, hibernation)
    if view.read(place, 4) not in _ALIVE:
        raise _not_from_here()
    view.write(place, bytes(length))


def find_header(view: ByteView, geometry: Geometry, hibernation: Hibernation) -> tuple[int, int]:
    """Offset on the volume and length of the hibernation file's header, in bytes.

    Raises NeedsHandsError (hibernated) where the file's first bytes are not simply in clusters of its own.
    """
    data = find_data(view, geometry, hibernation.record)
    first = data.runs[0] if data is not None and data.plain and data.runs else None
    if first is None or first.offset is None:
        raise _not_from_here()
    return first.offset, min(_HEADER, first.length)


def _not_from_here() -> NeedsHandsError:
    return NeedsHandsError(
        "the hibernation cannot be discarded from here",
        hint="start Windows and shut it down fully (shutdown /s /f /t 0)",
        reason=Reason.HIBERNATED,
    )
