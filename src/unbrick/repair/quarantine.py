"""The folder `\\Unbrick` of a volume, or `\\Unbrick-<id>` where that name is taken, and its runs' folders.

What exists there is believed only where it is a plain folder or file on which nobody but SYSTEM and
Administrators may do anything.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.events.run_id import is_run_id, order_of
from unbrick.repair.disk_errors import CHECK_THE_VOLUME, damaged, look
from unbrick.repair.security import FILE_DESCRIPTOR, FOLDER_DESCRIPTOR, is_ours
from unbrick.windows.ntfs_file import FileAttributes, read_acl, read_attributes, read_times, write_acl

HOME = "Unbrick"
JOURNAL = "journal.jsonl.gz"
FORMER_JOURNAL = "journal.jsonl"  # before version 0.2; not compressed

_OTHER_HOME = re.compile(r"unbrick-[0-9a-f]{16}")
_MOST_RUNS = 1000


@dataclass(frozen=True)
class Homes:
    """The quarantines of a volume: `ours`, the one called `\\Unbrick` first, and why others are not."""

    ours: tuple[Path, ...]
    foreign: tuple[NeedsHandsError, ...]


def find_homes(root: Path) -> Homes:
    """Every folder that may be a quarantine of ours; raises OSError, NeedsHandsError (damaged-volume).

    Any user of a Windows can make a folder with such a name. It is then left alone, and ours is another one.
    """
    named = [path for path in root.iterdir() if _may_be_home(path.name)]
    count = Counter(path.name.casefold() for path in named)
    ours: list[Path] = []
    foreign: list[NeedsHandsError] = []
    for path in sorted(named, key=lambda one: (len(one.name), one.name)):
        shown = f"\\{path.name}"
        try:
            if count[path.name.casefold()] > 1:
                raise _foreign(shown, "there are several that differ by case only")
            _expect_ours(path, shown, folder=True)
            ours.append(path)
        except NeedsHandsError as error:
            if error.reason != Reason.FOREIGN_QUARANTINE:
                raise
            foreign.append(error)
    return Homes(tuple(ours), tuple(foreign))


def make_run_folder(root: Path, run: str) -> Path:
    """A new folder for a run with an empty journal in it, both closed to all but us; raises OSError."""
    homes = find_homes(root)
    if homes.ours:
        home = homes.ours[0]
    else:
        # A name that nobody can have taken before.
        home = _make_folder(root / (f"{HOME}-{secrets.token_hex(8)}" if homes.foreign else HOME))
    folder = _make_folder(home / run)
    journal = folder / JOURNAL
    os.close(os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    _close_to_others(journal, FILE_DESCRIPTOR)
    return folder


def find_run_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Run id and folder of every run that wrote to its journal, the newest first.

    Raises NeedsHandsError (foreign-quarantine) where somebody else could have written there; OSError.
    """
    folders = _run_folders(root)
    if len(folders) > _MOST_RUNS:
        raise _foreign(f"\\{HOME}", f"it holds more than {_MOST_RUNS} runs")
    for folder in folders:
        if _has_begun(folder):
            check_run_folder(folder)
            yield folder.name, folder


def begun_at(folder: Path) -> int:
    """When a run's folder was made, in NTFS ticks (100 ns); 0 where that cannot be read."""
    try:
        return read_times(folder).created
    except OSError:
        return 0


def find_unreadable_run(root: Path) -> str | None:
    """The newest run whose folder or journal is listed but cannot be read (EIO: its record is damaged)."""
    for folder in _run_folders(root):
        try:
            journal_in(folder).lstat()
        except OSError as error:
            if error.errno == errno.EIO:
                return folder.name
    return None


def journal_in(folder: Path) -> Path:
    former = folder / FORMER_JOURNAL
    return former if look(former) is not None and look(folder / JOURNAL) is None else folder / JOURNAL


def check_run_folder(folder: Path) -> None:
    """Raise NeedsHandsError (foreign-quarantine) unless a run's folder and journal are plain and ours."""
    shown = f"\\{folder.parent.name}\\{folder.name}"
    journal = journal_in(folder)
    _expect_ours(folder, shown, folder=True)
    _expect_ours(journal, f"{shown}\\{journal.name}", folder=False)


def holds_files(folder: Path) -> bool:
    """Whether a run's folder holds anything but a journal; raises OSError."""
    return any(path.name not in (JOURNAL, FORMER_JOURNAL) for path in folder.iterdir())


def _may_be_home(name: str) -> bool:
    folded = name.casefold()
    return folded == HOME.casefold() or _OTHER_HOME.fullmatch(folded) is not None


def _run_folders(root: Path) -> list[Path]:
    """The newest first; raises OSError."""
    found = [path for home in find_homes(root).ours for path in home.iterdir() if is_run_id(path.name)]
    return sorted(found, key=lambda path: order_of(path.name, begun_at(path)), reverse=True)


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    _close_to_others(folder, FOLDER_DESCRIPTOR)
    return folder


def _close_to_others(path: Path, descriptor: bytes) -> None:
    """Allow nobody but SYSTEM and Administrators; raises OSError, NeedsHandsError (damaged-volume).

    NTFS keeps each set of rights once, for all files: read back, for what it keeps may be damaged.
    """
    write_acl(path, descriptor)
    if not is_ours(read_acl(path)):
        raise damaged(f"the rights that were just set on {path.name} read back as others")


def _has_begun(folder: Path) -> bool:
    """Whether there is a journal with something in it, or what else may not be passed by."""
    try:
        if not stat.S_ISDIR(folder.lstat().st_mode):
            return True  # no folder of ours: the check will say so
        journal = journal_in(folder).lstat()
        return holds_files(folder) or (stat.S_ISREG(journal.st_mode) and journal.st_size > 0)
    except OSError:
        return False


def _expect_ours(path: Path, shown: str, *, folder: bool) -> None:
    found = look(path)
    if found is None:
        raise _foreign(shown, "it is missing")
    wanted = stat.S_ISDIR if folder else stat.S_ISREG
    try:
        if not wanted(found.st_mode) or read_attributes(path) & FileAttributes.REPARSE_POINT:
            raise _foreign(shown, f"it is no plain {'folder' if folder else 'file'}")
        if not is_ours(read_acl(path)):
            raise _foreign(shown, "others than Administrators own it or may write there")
    except OSError as error:
        raise FailedError(
            f"{shown} cannot be read: {error.strerror}", reason=Reason.DAMAGED_VOLUME, hint=CHECK_THE_VOLUME
        ) from error


def _foreign(shown: str, why: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{shown} on this volume is not unbrick's: {why}",
        reason=Reason.FOREIGN_QUARANTINE,
        hint="look at it by hand; rename it if it is not needed, and run unbrick again",
    )
