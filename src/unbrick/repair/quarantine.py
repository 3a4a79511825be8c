"""The folder `\\Unbrick` of a volume and the folders of its runs.

What exists there is believed only where it is a plain folder or file on which nobody but SYSTEM and
Administrators may do anything. Moves no file; `moving.py` does.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from unbrick.errors import FailedError, NeedsHandsError, Reason
from unbrick.files import PathError, find_entry
from unbrick.ntfs_file import FileAttributes, read_acl, read_attributes, write_acl
from unbrick.repair.disk_errors import damaged, look
from unbrick.repair.plan import is_run_id
from unbrick.repair.security import FILE_DESCRIPTOR, FOLDER_DESCRIPTOR, is_ours

HOME = "Unbrick"
JOURNAL = "journal.jsonl"

_MOST_RUNS = 1000


def inspect(root: Path) -> Path | None:
    """The volume's `\\Unbrick`, if any; raises NeedsHandsError (foreign-quarantine) where it is not ours."""
    try:
        home = find_entry(root, HOME)
    except PathError as error:
        raise _foreign(f"\\{HOME}", "there are several that differ by case only") from error
    if home is not None:
        _expect_ours(home, f"\\{HOME}", folder=True)
    return home


def make_run_folder(root: Path, run: str) -> Path:
    """A new folder for a run with an empty journal in it, both closed to all but us; raises OSError."""
    home = inspect(root) or _make_folder(root / HOME)
    folder = _make_folder(home / run)
    journal = folder / JOURNAL
    os.close(os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
    _close_to_others(journal, FILE_DESCRIPTOR)
    return folder


def find_run_folders(root: Path) -> Iterator[tuple[str, Path]]:
    """Run id and folder of every run that wrote to its journal, the newest first.

    Raises NeedsHandsError (foreign-quarantine) where somebody else could have written there; OSError.
    """
    home = inspect(root)
    if home is None:
        return
    names = _run_names(home)
    if len(names) > _MOST_RUNS:
        raise _foreign(f"\\{HOME}", f"it holds more than {_MOST_RUNS} runs")
    for name in names:
        if _has_begun(home / name):
            check_run_folder(home / name)
            yield name, home / name


def find_unreadable_run(root: Path) -> str | None:
    """The newest run whose folder or journal is listed but cannot be read: its record is damaged."""
    home = inspect(root)
    if home is None:
        return None
    for name in _run_names(home):
        try:
            (home / name / JOURNAL).lstat()
        except OSError as error:
            if error.errno == errno.EIO:
                return name
    return None


def check_run_folder(folder: Path) -> None:
    """That a run's folder and its journal are plain and ours; raises NeedsHandsError (foreign-quarantine)."""
    shown = f"\\{HOME}\\{folder.name}"
    _expect_ours(folder, shown, folder=True)
    _expect_ours(folder / JOURNAL, f"{shown}\\{JOURNAL}", folder=False)


def holds_files(folder: Path) -> bool:
    """Whether anything but a journal lies in a run's folder; raises OSError."""
    return any(path.name != JOURNAL for path in folder.iterdir())


def _run_names(home: Path) -> list[str]:
    """The names of all runs, the newest first; raises OSError."""
    return sorted((path.name for path in home.iterdir() if is_run_id(path.name)), reverse=True)


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
        journal = (folder / JOURNAL).lstat()
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
            f"{shown} cannot be read: {error.strerror}", reason=Reason.DAMAGED_VOLUME
        ) from error


def _foreign(shown: str, why: str) -> NeedsHandsError:
    return NeedsHandsError(
        f"{shown} on this volume is not unbrick's: {why}",
        reason=Reason.FOREIGN_QUARANTINE,
        hint="look at it by hand; rename it if it is not needed, and run unbrick again",
    )
